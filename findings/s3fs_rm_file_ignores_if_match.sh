#!/usr/bin/env bash
# s3fs: rm_file() drops IfMatch and deletes the new object.
#
# Version:  s3fs 2026.9.0 (against moto 5.2.5, an S3 server in memory)
# Expected: `S3FileSystem.rm_file(path, IfMatch=etag)` takes keyword arguments, and `pipe_file(path, data, IfNoneMatch="*")` passes
#           them on to S3. So a delete with the ETag of an older object is refused, or the argument is.
# Seen:     rm_file() returns without an error, and the newer object is gone. The same server refuses the same delete when it comes
#           from boto3, or from `S3FileSystem.call_s3("delete_object", ...)`.
# Here:     connectors/storage/s3.py deletes through call_s3 for this reason.
#
# Exit: 0 while it is so, 1 when it has changed. Another version: VERSION=2027.1.0 before it.
set -euo pipefail

VERSION="${VERSION:-2026.9.0}"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT

"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "s3fs==$VERSION" "moto[server]==5.2.5"

AWS_EC2_METADATA_DISABLED=true "$folder/venv/bin/python" - <<'PYTHON'
import logging

import boto3
import s3fs
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
endpoint = "http://{}:{}".format(*server.get_host_and_port())
client = boto3.client(
    "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="secret"
)
files = s3fs.S3FileSystem(
    key="key", secret="secret", endpoint_url=endpoint, client_kwargs={"region_name": "us-east-1"}, use_listings_cache=False
)


def outcome(action, *args, **kwargs):
    """What a call does: 'refused: ...' or 'no error'."""
    try:
        action(*args, **kwargs)
    except (ClientError, OSError, TypeError, ValueError) as error:
        return f"refused: {error}"
    return "no error"


client.create_bucket(Bucket="shop")
old_etag = client.put_object(Bucket="shop", Key="order", Body=b"old")["ETag"]
client.put_object(Bucket="shop", Key="order", Body=b"new")
pinned = {"Bucket": "shop", "Key": "order", "IfMatch": old_etag}

by_boto3 = outcome(client.delete_object, **pinned)
by_call_s3 = outcome(files.call_s3, "delete_object", **pinned)
create_only = outcome(files.pipe_file, "shop/order", b"newer", IfNoneMatch="*")
before = files.cat_file("shop/order")
by_rm_file = outcome(files.rm_file, "shop/order", IfMatch=old_etag)
keys_after = [item["Key"] for item in client.list_objects_v2(Bucket="shop").get("Contents", [])]
server.stop()

print(f"s3fs {s3fs.__version__}: delete of an object whose ETag has changed")
print(f"  control, boto3 delete_object(IfMatch=old):      {by_boto3}")
print(f"  control, s3fs call_s3('delete_object', IfMatch): {by_call_s3}")
print(f"  control, s3fs pipe_file(IfNoneMatch='*'):        {create_only}")
print(f"  object before rm_file: {before!r}")
print("  expected of rm_file(IfMatch=old): refused, the object stays")
print(f"  seen of rm_file(IfMatch=old):     {by_rm_file}, keys left: {keys_after}")

controls = all(text.startswith("refused") for text in (by_boto3, by_call_s3, create_only)) and before == b"new"
as_described = controls and by_rm_file == "no error" and keys_after == []
print("AS DESCRIBED" if as_described else "CHANGED")
raise SystemExit(0 if as_described else 1)
PYTHON
