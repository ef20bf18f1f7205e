"""Daft: ``job.py objects ENDPOINT KEY SECRET BUCKET COUNT FOLDER``."""

import hashlib
import json
import sys
import time

import daft
from daft.io import IOConfig, S3Config

_, endpoint, key, secret, bucket, count, folder = sys.argv[1:]
store = S3Config(endpoint_url=endpoint, key_id=key, access_key=secret, region_name="us-east-1", use_ssl=False)
config = IOConfig(s3=store)
started = time.perf_counter()
frame = daft.from_glob_path(f"s3://{bucket}/in/**", io_config=config)
bodies = frame.with_column("body", daft.functions.download(frame["path"], io_config=config, max_connections=64))
digest = bodies["body"].apply(lambda body: hashlib.sha256(body).hexdigest(), return_dtype=daft.DataType.string())
bodies.with_column("digest", digest).select("path", "digest").write_parquet(folder)
seconds = time.perf_counter() - started
rows = daft.read_parquet(f"{folder}/**").count_rows()
assert rows == int(count), rows
print(json.dumps({"records": rows, "seconds": seconds}))
