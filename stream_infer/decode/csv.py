"""CSV with a header line."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.csv as pacsv

from stream_infer.config import Limits
from stream_infer.decode.base import MOST_ROWS, Decoded, RowReject, named
from stream_infer.errors import RejectRecord


def decode(content: bytes, _limits: Limits) -> Iterator[Decoded]:
    """The header's names as columns, types inferred from the whole object. A row with too few or many fields is
    rejected. ``rows`` count data rows from 0, rejected ones included."""
    invalid: list[pacsv.InvalidRow] = []

    def note(row: pacsv.InvalidRow) -> str:
        invalid.append(row)
        return "skip"

    try:
        table = pacsv.read_csv(
            io.BytesIO(content),
            read_options=pacsv.ReadOptions(use_threads=False),  # row numbers are only known without threads
            parse_options=pacsv.ParseOptions(invalid_row_handler=note, newlines_in_values=True),
        )
    except pa.ArrowInvalid as error:
        raise RejectRecord(f"not CSV: {error}", reason="decode") from None
    # the handler counts from 1, with the header as row 1
    refused = {row.number - 2: row for row in invalid}
    numbers = [row for row in range(table.num_rows + len(refused)) if row not in refused]
    rejects = [
        RowReject(row, "decode", f"the row has {item.actual_columns} fields, the header {item.expected_columns}")
        for row, item in refused.items()
    ]
    table = named(table)
    for start in range(0, max(table.num_rows, 1), MOST_ROWS):
        yield Decoded(table.slice(start, MOST_ROWS), numbers[start : start + MOST_ROWS], rejects if not start else [])
