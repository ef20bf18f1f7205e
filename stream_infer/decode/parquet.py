"""Parquet, decoded in batches, so that a large object is never in memory twice."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from stream_infer.decode.base import MOST_BYTES, MOST_ROWS, Decoded, RowReject, named
from stream_infer.errors import RejectRecord
from stream_infer.records import Content

_BATCH_ROWS = 512
_FEWEST_ROWS = 16
_BATCH_BYTES = 2**30  # most bytes of a batch in which every row repeats its column's longest value


def decode(content: Content) -> Iterator[Decoded]:
    """Decode Parquet with the file's columns. ``rows`` count from 0 through all row groups.

    A damaged row group is one reject, at its first row that cannot be read; the other row groups are delivered.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        named(file.schema_arrow.empty_table())
    except (
        pa.ArrowException,
        OSError,
        UnicodeDecodeError,
    ) as error:  # the last one for names of columns that are no text
        raise RejectRecord(f"not Parquet: {error}", reason="decode") from None
    end = 0
    for group in range(file.num_row_groups):
        start, end = end, end + file.metadata.row_group(group).num_rows
        yield from _row_group(file, group, start, end)


def _row_group(file: pq.ParquetFile, group: int, start: int, end: int) -> Iterator[Decoded]:
    batches = file.iter_batches(batch_size=_batch_rows(file.metadata.row_group(group)), row_groups=[group])
    pending: list[pa.RecordBatch] = []
    while start < end:
        batch, reason = _next(batches, start, end)
        if batch is not None:
            pending.append(batch)
            start += batch.num_rows
        rows = sum(piece.num_rows for piece in pending)
        if rows and (
            batch is None or start >= end or rows >= MOST_ROWS or sum(p.nbytes for p in pending) >= MOST_BYTES
        ):
            yield Decoded(named(pa.Table.from_batches(pending)), range(start - rows, start))
            pending = []
        if batch is None:
            yield Decoded(pa.table({}), [], [RowReject(start, "decode", reason)])
            return


def _next(batches: Iterator[pa.RecordBatch], start: int, end: int) -> tuple[pa.RecordBatch | None, str]:
    """(the next batch or None, the reason if there is none)."""
    try:
        batch = next(batches, None)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        return None, f"rows {start} to {end - 1} cannot be read: {reason}"
    return batch, f"rows {start} to {end - 1} are not there"


def _batch_rows(group: pq.RowGroupMetaData) -> int:
    """Rows to decode at once.

    With a dictionary a few bytes can encode the same long value in every row. So the size in the metadata does not bound the
    decoded size; the number of rows does.
    """
    columns = [group.column(index) for index in range(group.num_columns)]
    largest = max(
        (column.total_uncompressed_size for column in columns if column.physical_type == "BYTE_ARRAY"), default=1
    )
    return max(_FEWEST_ROWS, min(_BATCH_ROWS, _BATCH_BYTES // max(1, largest)))
