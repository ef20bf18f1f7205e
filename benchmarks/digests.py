"""The cheap model of the benchmarks."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pyarrow.compute as pc


class Digest:
    def infer(self, batch: pa.Table) -> dict[str, list[str]]:
        return {"digest": [hashlib.sha256(text.encode()).hexdigest() for text in batch.column("text").to_pylist()]}


class Length:
    def infer(self, batch: pa.Table) -> dict[str, pa.Array]:
        return {"length": pc.binary_length(batch.column("bytes"))}
