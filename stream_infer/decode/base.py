"""What decoding gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from stream_infer.records import content_name

MOST_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class RowReject:
    """One row that is no record; its neighbours are delivered."""

    row: int
    error: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """A piece of an object.

    Attributes:
        table: content columns.
        rows: the row number of each record within the object, as long as ``table``.
    """

    table: pa.Table
    rows: Sequence[int]
    rejects: list[RowReject] = field(default_factory=list)


def named(table: pa.Table) -> pa.Table:
    """The table with names that cannot be mistaken for provenance columns."""
    return table.rename_columns([content_name(name) for name in table.column_names])
