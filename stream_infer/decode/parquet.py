"""Parquet, in batches, so that a large object never stands in memory twice."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from stream_infer.config import Limits
from stream_infer.decode.base import Decoded, RowReject, named, rows_a_piece
from stream_infer.errors import RejectRecord


def decode(content: bytes, _limits: Limits) -> Iterator[Decoded]:
    """The file's own columns. ``rows`` count from 0 through all row groups.

    A damaged row group is one reject, at its first row that cannot be read; the other row groups are delivered.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        named(file.schema_arrow.empty_table())
    except (pa.ArrowException, OSError) as error:
        raise RejectRecord(f"not Parquet: {error}", reason="decode") from None
    end = 0
    for group in range(file.num_row_groups):
        start, end = end, end + file.metadata.row_group(group).num_rows
        yield from _row_group(file, group, start, end)


def _row_group(file: pq.ParquetFile, group: int, start: int, end: int) -> Iterator[Decoded]:
    size = file.metadata.row_group(group).total_byte_size
    batches = file.iter_batches(batch_size=rows_a_piece(end - start, size), row_groups=[group])
    while start < end:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError) as error:
            reason = " ".join(str(error).split())[:300]
            reject = RowReject(start, "decode", f"rows {start} to {end - 1} cannot be read: {reason}")
            yield Decoded(pa.table({}), [], [reject])
            return
        if batch is None:
            yield Decoded(pa.table({}), [], [RowReject(start, "decode", f"rows {start} to {end - 1} are not there")])
            return
        yield Decoded(named(pa.Table.from_batches([batch])), range(start, start + batch.num_rows))
        start += batch.num_rows
