"""Kafka -> hash -> Parquet with Bytewax: ``job.py SERVERS TOPIC COUNT FOLDER``."""

import hashlib
import json
import sys
import time
from pathlib import Path

import bytewax.operators as op
import pyarrow as pa
import pyarrow.parquet as pq
from bytewax.connectors.kafka import KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main
from confluent_kafka import OFFSET_BEGINNING

servers, topic, count, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])


class Files(StatelessSinkPartition):
    def __init__(self):
        self.rows, self.number = [], 0

    def write_batch(self, items):
        self.rows += items
        if len(self.rows) >= 20_000:
            self.close()

    def close(self):
        if self.rows:
            names, digests = zip(*self.rows, strict=True)
            pq.write_table(
                pa.table({"record_id": names, "digest": digests}), folder / f"{self.number}.parquet", compression="zstd"
            )
            self.rows, self.number = [], self.number + 1


class Sink(DynamicSink):
    def build(self, step_id, worker_index, worker_count):
        return Files()


def hashed(messages):
    return [
        (f"{m.topic}/{m.partition}/{m.offset}", hashlib.sha256(m.value.decode().encode()).hexdigest()) for m in messages
    ]


folder.mkdir(parents=True)
flow = Dataflow("texts")
stream = op.input(
    "in", flow, KafkaSource([servers], [topic], tail=False, batch_size=1000, starting_offset=OFFSET_BEGINNING)
)
op.output("out", op.flat_map_batch("hash", stream, hashed), Sink())
started = time.perf_counter()
run_main(flow)
seconds = time.perf_counter() - started
rows = sum(pq.read_metadata(path).num_rows for path in folder.glob("*.parquet"))
assert rows == count, rows
print(json.dumps({"records": rows, "seconds": seconds}))
