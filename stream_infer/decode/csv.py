"""CSV with a header line."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.types as types

from stream_infer.decode.base import Decoded, RowReject, named, rows_a_piece
from stream_infer.decode.text import unmarked
from stream_infer.errors import RejectRecord
from stream_infer.records import Content


def decode(content: Content) -> Iterator[Decoded]:
    """Decode CSV: columns named by the header, with types inferred from the whole object.

    A row with too few or too many fields, or one that is not UTF-8, is rejected. ``rows`` count data rows from 0, rejected
    rows included and blank lines excluded.
    """
    content = unmarked(content)
    whole = _is_utf8(content)
    table, refused = _parsed(content, "utf8" if whole else "latin1")
    numbers = np.delete(np.arange(table.num_rows + len(refused)), sorted(refused))
    table, broken = (table, np.zeros(table.num_rows, dtype=bool)) if whole else _recoded(table)
    table = named(table)
    rejects = [RowReject(row, "decode", reason) for row, reason in refused.items()]
    rejects += [RowReject(int(row), "decode", "the row is not UTF-8") for row in numbers[broken]]
    rows = numbers[~broken].tolist()
    piece_rows = rows_a_piece(table.num_rows, table.nbytes)
    for start in range(0, max(table.num_rows, 1), piece_rows):
        yield Decoded(table.slice(start, piece_rows), rows[start : start + piece_rows], rejects if not start else [])


def _parsed(content: Content, encoding: str) -> tuple[pa.Table, dict[int, str]]:
    """The rows that fit the header, and the reasons of the others by row number."""
    refused: dict[int, str] = {}

    def note(row: pacsv.InvalidRow) -> str:
        # the handler counts from 1, with the header as row 1
        refused[row.number - 2] = f"the row has {row.actual_columns} fields, the header {row.expected_columns}"
        return "skip"

    try:
        table = pacsv.read_csv(
            pa.BufferReader(content),
            # row numbers are only known without threads
            read_options=pacsv.ReadOptions(use_threads=False, encoding=encoding),
            parse_options=pacsv.ParseOptions(invalid_row_handler=note, newlines_in_values=True),
        )
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise RejectRecord(f"not CSV: {error}", reason="decode") from None
    return table, refused


def _recoded(table: pa.Table) -> tuple[pa.Table, np.ndarray]:
    """The UTF-8 rows of a table that was read as Latin-1, and a mask of the other rows, shape (rows,) of bool.

    Latin-1 keeps every byte. As UTF-8, the reader would refuse the whole object for one bad row.
    """
    names = [_utf8(name) for name in table.column_names]
    if None in names:
        raise RejectRecord("a column's name is not UTF-8", reason="decode")
    broken = np.zeros(table.num_rows, dtype=bool)
    columns = []
    for column in table.columns:
        if types.is_string(column.type):
            latin_texts = column.to_pylist()
            texts = [None if value is None else _utf8(value) for value in latin_texts]
            broken |= [value is not None and text is None for value, text in zip(latin_texts, texts, strict=True)]
            column = pa.array(texts, pa.string())
        columns.append(column)
    return pa.table(columns, names=names).filter(pa.array(~broken)), broken


def _utf8(latin: str) -> str | None:
    try:
        return latin.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return None


def _is_utf8(content: Content) -> bool:
    try:
        str(content, "utf-8")
    except UnicodeDecodeError:
        return False
    return True
