"""Kafka -> hash -> Parquet with Quix Streams: ``job.py SERVERS TOPIC COUNT FOLDER``."""

import hashlib
import json
import sys
import time
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from quixstreams import Application
from quixstreams.sinks import BatchingSink

servers, topic, count, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])


class Files(BatchingSink):
    def write(self, batch):
        items = list(batch)
        names = [f"{batch.topic}/{batch.partition}/{item.offset}" for item in items]
        table = pa.table({"record_id": names, "digest": [item.value for item in items]})
        pq.write_table(table, folder / f"{batch.partition}-{batch.start_offset}.parquet", compression="zstd")


folder.mkdir(parents=True)
app = Application(
    broker_address=servers, consumer_group=str(uuid.uuid4()), auto_offset_reset="earliest", loglevel="ERROR",
    commit_every=20_000, auto_create_topics=False,
)  # fmt: skip
frame = app.dataframe(app.topic(topic, value_deserializer="bytes"))
frame = frame.apply(lambda value: hashlib.sha256(value.decode().encode()).hexdigest())
frame.sink(Files())
started = time.perf_counter()
app.run(count=count)
seconds = time.perf_counter() - started
rows = sum(pq.read_metadata(path).num_rows for path in folder.glob("*.parquet"))
print(json.dumps({"records": rows, "seconds": seconds}))
