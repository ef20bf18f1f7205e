"""The cheap models of the benchmarks."""

from __future__ import annotations

import hashlib
import os
import time

import pyarrow as pa
import pyarrow.compute as pc


class Digest:
    def infer(self, batch: pa.Table) -> dict[str, list[str]]:
        return {"digest": [hashlib.sha256(text.encode()).hexdigest() for text in batch.column("text").to_pylist()]}


class Length:
    def infer(self, batch: pa.Table) -> dict[str, pa.Array]:
        return {"length": pc.binary_length(batch.column("bytes"))}


class Counted(Digest):
    """A model that is slow enough to be killed at work; it writes down how many records each call had."""

    def infer(self, batch: pa.Table) -> dict[str, list[str]]:
        with open(os.environ["STREAM_INFER_BENCH_CALLS"], "a") as file:  # so short a line is appended atomically
            file.write(f"{batch.num_rows}\n")
        time.sleep(0.1)
        return super().infer(batch)
