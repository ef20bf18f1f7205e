"""Every format passes the suite of formats, and the suite catches a format that breaks a promise."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from stream_infer.decode import jsonl
from stream_infer.decode.base import Decoded, RowReject
from stream_infer.plugins import FORMATS, installed
from stream_infer.records import Content
from stream_infer.testing import check_format

LINES = b'{"a": 1, "key": "x"}\n{no JSON\n{"a": 2.5}\n'
TABLE = b"a,b\n1,x\n2\n3,z\n"


def _parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"n": range(50), "source": ["x"] * 50}), file, row_group_size=20)
    return file.getvalue()


def _image() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "records"),
    [
        ("text", "ünï".encode(), 1),
        ("binary", b"\x00\xff" * 10, 1),
        ("jsonl", LINES, 3),
        ("csv", TABLE, 3),
        ("parquet", _parquet(), 50),
        ("image", _image(), 1),
    ],
)
def test_every_format_passes_the_suite_of_formats(name: str, content: bytes, records: int) -> None:
    check_format(lambda: installed(FORMATS)[name], content, records)


def test_every_format_is_in_the_test_above() -> None:
    (mark,) = test_every_format_passes_the_suite_of_formats.pytestmark  # type: ignore[attr-defined]
    assert {name for name, _, _ in mark.args[1]} == set(installed(FORMATS))


def _good(content: Content, *_: object) -> Iterator[Decoded]:
    yield from jsonl.decode(content)


def _shifted(content: Content, *_: object) -> Iterator[Decoded]:
    """Numbers rows from 1."""
    for piece in _good(content):
        yield replace(piece, rows=[row + 1 for row in piece.rows])


def _silent(content: Content, *_: object) -> Iterator[Decoded]:
    """Leaves bad rows out."""
    for piece in _good(content):
        yield replace(piece, rejects=[])


def _hiding(content: Content, *_: object) -> Iterator[Decoded]:
    """Has a column that hides a provenance column."""
    for piece in _good(content):
        names = ["source" if name == "a" else name for name in piece.table.column_names]
        yield replace(piece, table=piece.table.rename_columns(names))


def _crashing(content: Content, *_: object) -> Iterator[Decoded]:
    """Lets its parser's own error through."""
    yield from _good(bytes(content).decode("utf-8").encode())


def _unsure(content: Content, *_: object) -> Iterator[Decoded]:
    """Decodes otherwise each time."""
    for piece in _good(content):
        yield replace(
            piece, rejects=[RowReject(it.row, it.error, f"{np.random.default_rng().random()}") for it in piece.rejects]
        )


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (_shifted, "once is right"),
        (_silent, "once is right"),
        (_hiding, "provenance column"),
        (_crashing, "UnicodeDecodeError"),
        (_unsure, "again gives something else"),
    ],
)
def test_a_broken_format_is_caught(broken: Callable[[Content], Iterator[Decoded]], sentence: str) -> None:
    content: Any = LINES.replace(b'"x"', '"ü"'.encode())
    with pytest.raises(AssertionError, match=sentence):
        check_format(lambda: replace(installed(FORMATS)["jsonl"], decode=broken), content, 3)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "lines"}, "do not take kind 'lines'"),
        ({"suffixes": (".JSONL",)}, "lower case"),
        ({"column": "text"}, "column text is missing"),
        ({"one_record": True}, "holds 3 records"),
        ({"decode": lambda content, _options, _limits: jsonl.decode(content)}, "cannot be pickled"),
    ],
)
def test_a_broken_entry_of_the_table_is_caught(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        check_format(lambda: replace(installed(FORMATS)["jsonl"], **change), LINES, 3)
