"""Ray Data batch: ``job.py SERVERS TOPIC COUNT FOLDER`` or ``job.py objects ENDPOINT KEY SECRET BUCKET COUNT FOLDER``."""

import hashlib
import json
import sys
import time

import pyarrow as pa
import ray


def ranges(servers, topic):
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": servers, "group.id": "plan"})
    ranges = []
    for number in consumer.list_topics(topic).topics[topic].partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, number))
        ranges += [
            {"partition": number, "start": at, "stop": min(at + 20_000, high)} for at in range(low, high, 20_000)
        ]
    consumer.close()
    return ranges


def read(servers, topic, row):
    from confluent_kafka import Consumer, TopicPartition  # here: a function that is sent cannot carry the class

    consumer = Consumer({"bootstrap.servers": servers, "group.id": "read"})
    consumer.assign([TopicPartition(topic, row["partition"], row["start"])])
    names, values, at = [], [], row["start"]
    while at < row["stop"]:
        for message in consumer.consume(1000, 1.0):
            if message.offset() < row["stop"]:
                names.append(f"{topic}/{row['partition']}/{message.offset()}")
                values.append(message.value().decode())
            at = message.offset() + 1
    consumer.close()
    return [{"record_id": name, "text": value} for name, value in zip(names, values, strict=True)]


def hashed(table):
    column = "text" if "text" in table.column_names else "bytes"
    values = table.column(column).to_pylist()
    digests = [hashlib.sha256(v.encode() if isinstance(v, str) else v).hexdigest() for v in values]
    return table.drop_columns([column]).append_column("digest", pa.array(digests))


ray.init(include_dashboard=False, log_to_driver=False, address="local")
ray.data.DataContext.get_current().enable_progress_bars = False
started = time.perf_counter()
if sys.argv[1] == "objects":
    from pyarrow.fs import S3FileSystem

    endpoint, key, secret, bucket, count, folder = sys.argv[2:]
    store = S3FileSystem(
        access_key=key, secret_key=secret, endpoint_override=endpoint, region="us-east-1", scheme="http"
    )
    data = ray.data.read_binary_files(f"{bucket}/in/", filesystem=store, include_paths=True)
else:
    servers, topic, count, folder = sys.argv[1:]
    data = ray.data.from_items(ranges(servers, topic)).flat_map(lambda row: read(servers, topic, row))
data.map_batches(hashed, batch_format="pyarrow", batch_size=None).write_parquet(folder)
seconds = time.perf_counter() - started
rows = ray.data.read_parquet(folder).count()
assert rows == int(count), rows
print(json.dumps({"records": rows, "seconds": seconds}))
