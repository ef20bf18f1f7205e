"""A split's Parquet file: its bytes, and the receipt in its footer."""

from __future__ import annotations

import io
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from stream_infer.records import OUTPUT_FIELDS
from stream_infer.splits import Receipt

RECEIPT_KEY = b"stream-infer"
_ROW_GROUP = 64 * 1024
_TAIL = 64 * 1024
_MAGIC = b"PAR1"
# Constant or repeated in a file; elsewhere a dictionary only costs.
_REPEATED = ("source", "split_id", "model", "trace_id")


def to_bytes(rows: pa.Table, receipt: Receipt) -> bytes:
    """The whole file, zstd, with the receipt as footer metadata under ``stream-infer``."""
    table = _plain(rows)
    repeated = [name for name in _REPEATED if name in table.column_names]
    sink = io.BytesIO()
    with pq.ParquetWriter(
        sink, table.schema, compression="zstd", use_dictionary=repeated, store_schema=True, write_page_checksum=True
    ) as writer:
        writer.write_table(table, row_group_size=_ROW_GROUP)
        # beside the Arrow schema, not in it: there it would stand in the footer a second time
        writer.add_key_value_metadata({RECEIPT_KEY.decode(): receipt.to_json()})
    return sink.getvalue()


def empty(receipt: Receipt) -> bytes:
    """A file of no rows that only holds a name."""
    return to_bytes(pa.schema(OUTPUT_FIELDS).empty_table(), receipt)


class Tail:
    """The end of a file, enough for its footer.

    Args:
        size: bytes of the whole file.
        data: its last bytes.
    """

    def __init__(self, size: int, data: bytes) -> None:
        self._size = size
        self._data = data

    @staticmethod
    def first_guess(size: int) -> int:
        """Where to start reading when nothing is known of the footer."""
        return max(0, size - _TAIL)

    def missing(self) -> int | None:
        """Where reading must start instead, when the footer is longer than the data."""
        if self._data[-4:] != _MAGIC:
            return None
        needed = int.from_bytes(self._data[-8:-4], "little") + 8
        return self._size - needed if len(self._data) < needed <= self._size else None

    def receipt(self) -> tuple[Receipt | None, int]:
        """The receipt, None where the file is not ours, and the file's number of rows."""
        if self._data[-4:] != _MAGIC:
            return None, 0
        needed = int.from_bytes(self._data[-8:-4], "little") + 8
        # pyarrow wants a file: the footer stands alone behind the opening magic just as well
        try:
            metadata = pq.read_metadata(pa.BufferReader(_MAGIC + self._data[-needed:]))
        except (
            pa.ArrowException,
            OSError,
            ValueError,
        ):  # only looks like a footer, or names columns in bytes that are no text
            return None, 0
        document = (metadata.metadata or {}).get(RECEIPT_KEY)
        if document is None:
            return None, metadata.num_rows
        try:
            return replace(Receipt.from_json(document), bytes_out=self._size), metadata.num_rows
        except (ValueError, TypeError, KeyError):  # the key is there and holds no receipt of ours
            return None, metadata.num_rows


def _plain(rows: pa.Table) -> pa.Table:
    """Column types that do not depend on how much a file holds, so that all files of a folder read as one.

    Metadata of the tables that the rows came from (pandas', a model's) is dropped.
    """
    return rows.cast(pa.schema([pa.field(field.name, _small(field.type), field.nullable) for field in rows.schema]))


def _small(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _small(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_large_list(kind) or pa.types.is_list(kind):
        return pa.list_(_small(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(inner.name, _small(inner.type), inner.nullable) for inner in kind])
    return kind
