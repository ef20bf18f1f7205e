"""Parquet, in batches, so that a large object never stands in memory twice."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from stream_infer.config import Limits
from stream_infer.decode.base import MOST_ROWS, Decoded, named
from stream_infer.errors import RejectRecord


def decode(content: bytes, _limits: Limits) -> Iterator[Decoded]:
    """The file's own columns. ``rows`` count from 0 through all row groups."""
    start = 0
    try:
        for batch in pq.ParquetFile(pa.BufferReader(content)).iter_batches(batch_size=MOST_ROWS):
            yield Decoded(named(pa.Table.from_batches([batch])), range(start, start + batch.num_rows))
            start += batch.num_rows
    except (pa.ArrowInvalid, OSError) as error:
        raise RejectRecord(f"not Parquet: {error}", reason="decode") from None
