"""CSV with a header line."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.types as types

from stream_infer.config import Limits
from stream_infer.decode.base import Decoded, RowReject, named, rows_a_piece
from stream_infer.errors import RejectRecord


def decode(content: bytes, _limits: Limits) -> Iterator[Decoded]:
    """The header's names as columns, types inferred from the whole object. A row with too few or many fields, or that
    is not UTF-8, is rejected. ``rows`` count data rows from 0, rejected ones included, blank lines not."""
    table, refused = _parsed(content)
    numbers = np.delete(np.arange(table.num_rows + len(refused)), sorted(refused))
    table, broken = _utf8(named(table))
    rejects = [RowReject(row, "decode", reason) for row, reason in refused.items()]
    rejects += [RowReject(int(row), "decode", "the row is not UTF-8") for row in numbers[broken]]
    rows = numbers[~broken].tolist()
    step = rows_a_piece(table.num_rows, table.nbytes)
    for start in range(0, max(table.num_rows, 1), step):
        yield Decoded(table.slice(start, step), rows[start : start + step], rejects if not start else [])


def _parsed(content: bytes) -> tuple[pa.Table, dict[int, str]]:
    """The rows that fit the header, and why others do not, by row number."""
    refused: dict[int, str] = {}

    def note(row: pacsv.InvalidRow) -> str:
        # the handler counts from 1, with the header as row 1
        refused[row.number - 2] = f"the row has {row.actual_columns} fields, the header {row.expected_columns}"
        return "skip"

    try:
        table = pacsv.read_csv(
            io.BytesIO(content),
            read_options=pacsv.ReadOptions(use_threads=False),  # row numbers are only known without threads
            parse_options=pacsv.ParseOptions(invalid_row_handler=note, newlines_in_values=True),
        )
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise RejectRecord(f"not CSV: {error}", reason="decode") from None
    return table, refused


def _utf8(table: pa.Table) -> tuple[pa.Table, np.ndarray]:
    """The rows whose text is UTF-8, and which were not, shape (rows,) of bool.

    A column is inferred as binary when any of its values is not UTF-8.
    """
    binary = [index for index, field in enumerate(table.schema) if types.is_binary(field.type)]
    broken = np.zeros(table.num_rows, dtype=bool)
    for index in binary:
        broken |= [not _is_utf8(value) for value in table.column(index).to_pylist()]
    if binary:
        table = table.filter(pa.array(~broken))
    for index in binary:
        table = table.set_column(index, table.column_names[index], pc.cast(table.column(index), pa.string()))
    return table, broken


def _is_utf8(value: bytes | None) -> bool:
    try:
        return value is None or value.decode("utf-8") is not None
    except UnicodeDecodeError:
        return False
