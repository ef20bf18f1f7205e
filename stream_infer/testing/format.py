"""The suite of formats: every record has its row, what is no record is named, damage raises nothing else."""

from __future__ import annotations

import itertools
import pickle
import random
from collections.abc import Callable

import pyarrow as pa
from pydantic import ValidationError

from stream_infer.config import Limits
from stream_infer.decode.base import MOST_ROWS, Decoded
from stream_infer.decode.format import Format
from stream_infer.errors import RejectRecord
from stream_infer.records import RESERVED, Content
from stream_infer.testing.checks import require

_DAMAGES = 60


def check_format(make: Callable[[], Format], content: bytes, records: int) -> None:
    """Hold a format against the promises of `decode.format.Format`.

    Args:
        make: gives the format, as its entry point does.
        content: a content of the format, to be decoded with the format's default options.
        records: how many records it holds, those that cannot be decoded among them.

    Raises:
        AssertionError: a promise is broken; the sentence says which.
    """
    checked = make()
    _table_entry_is_sound(checked)
    pieces = _decoded(checked, content)
    _every_record_has_its_row(pieces, records)
    _columns_are_the_content_alone(checked, pieces)
    require(not checked.one_record or records == 1, f"one_record is set and the content holds {records} records")
    again, viewed = _decoded(make(), content), _decoded(make(), memoryview(content))
    require(_alike(again, pieces), "decoding the same content again gives something else")
    require(_alike(viewed, pieces), "a memoryview of the content is decoded to something else than its bytes")
    _damage_raises_rejects_only(checked, content)


def _decoded(checked: Format, content: Content) -> list[Decoded]:
    return list(checked.decode(content, checked.options(kind=checked.name), Limits()))


def _table_entry_is_sound(checked: Format) -> None:
    try:
        checked.options(kind=checked.name)
    except ValidationError:
        raise AssertionError(f"the options do not take kind {checked.name!r}, the format's name, alone") from None
    odd = [suffix for suffix in checked.suffixes if suffix != suffix.lower() or suffix.startswith(".")]
    require(not odd, f"suffix {odd[:1]} is not written in lower case without its dot")
    try:
        pickle.dumps(checked.decode)
    except (pickle.PicklingError, AttributeError, TypeError):
        raise AssertionError(
            "decode cannot be pickled, so workers do not get it: make it a function of a module"
        ) from None


def _every_record_has_its_row(pieces: list[Decoded], records: int) -> None:
    for piece in pieces:
        require(
            len(piece.rows) == piece.table.num_rows, "Decoded.rows and Decoded.table have different numbers of rows"
        )
        require(piece.table.num_rows <= MOST_ROWS, f"a piece has more than {MOST_ROWS} rows; memory must stay bounded")
        require(all(reject.error and reject.reason for reject in piece.rejects), "a reject names no error or no reason")
    rows = [row for piece in pieces for row in piece.rows]
    require(all(low < high for low, high in itertools.pairwise(rows)), "the rows of an object do not increase")
    every = sorted([*rows, *(reject.row for piece in pieces for reject in piece.rejects)])
    require(
        every == list(range(records)), f"rows and rejects number {every[:20]}…; each of 0 … {records - 1} once is right"
    )


def _columns_are_the_content_alone(checked: Format, pieces: list[Decoded]) -> None:
    for piece in pieces:
        names = piece.table.column_names
        require(checked.column in (None, *names), f"the content column {checked.column} is missing; there is {names}")
        reserved = sorted(RESERVED & set(names))
        require(not reserved, f"column {reserved[:1]} has the name of a provenance column; see records.content_name")
        require(piece.table.num_columns > 0 or not piece.rows, "records without a column")
    tables = [piece.table for piece in pieces if piece.table.num_rows]
    try:
        pa.concat_tables(tables, promote_options="permissive") if tables else None
    except pa.ArrowException as error:
        raise AssertionError(f"the pieces of one object do not fit together: {error}") from None


def _alike(one: list[Decoded], other: list[Decoded]) -> bool:
    if len(one) != len(other):
        return False
    return all(
        left.table.equals(right.table) and list(left.rows) == list(right.rows) and left.rejects == right.rejects
        for left, right in zip(one, other, strict=True)
    )


def _damage_raises_rejects_only(checked: Format, content: bytes) -> None:
    generator = random.Random(0)
    for number in range(_DAMAGES):
        damaged = bytearray(content)
        if damaged and number % 2:
            damaged[generator.randrange(len(damaged))] ^= 1 << generator.randrange(8)
        else:
            del damaged[generator.randrange(len(damaged) + 1) :]
        try:
            _decoded(checked, bytes(damaged))
        except RejectRecord:
            continue
        except Exception as error:
            raise AssertionError(
                f"damaged content raises {type(error).__name__}: {error}; raise RejectRecord, so that it is one reject"
            ) from error
