"""The results of decoding, and helpers of the decoders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from stream_infer.errors import RejectRecord
from stream_infer.records import content_name

MOST_ROWS = 10_000
MOST_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class RowReject:
    """One row that cannot become a record; the other rows are delivered."""

    row: int
    error: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """A part of the records of one object.

    Attributes:
        table: content columns.
        rows: the row number of each record within the object, as long as ``table``.
    """

    table: pa.Table
    rows: Sequence[int]
    rejects: list[RowReject] = field(default_factory=list)


def one_cell(content: pa.Buffer) -> pa.LargeBinaryArray:
    """A column of one row that refers to the content, without a copy."""
    ends = pa.py_buffer(np.array([0, content.size], np.int64))
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, ends, content])


def named(table: pa.Table) -> pa.Table:
    """The table with columns renamed where they have the name of a provenance column.

    Raises:
        RejectRecord: there is no column, a name is not UTF-8, or two columns would have the same name.
    """
    try:
        names = [content_name(name) for name in table.column_names]
    except UnicodeDecodeError:
        raise RejectRecord("a column's name is not UTF-8", reason="decode") from None
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise RejectRecord(f"two of its columns are named {twice!r}", reason="decode")
    if not names:
        raise RejectRecord("it has no columns", reason="decode")
    return table.rename_columns(names)


def rows_a_piece(rows: int, size: int) -> int:
    """Rows of a part of at most `MOST_ROWS` rows and about `MOST_BYTES`, if ``rows`` rows take ``size`` bytes."""
    return max(1, min(MOST_ROWS, MOST_BYTES * rows // max(size, 1)))
