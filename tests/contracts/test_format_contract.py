"""Every format passes the suite of formats, and the suite catches a format that breaks a promise."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from stream_infer.config import AutoFormat, FormatSettings, Limits
from stream_infer.decode.base import Decoded, RowReject
from stream_infer.decode.decoder import Decoder
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
        ("a.txt", "ünï".encode(), 1),
        ("a.txt.gz", gzip.compress(b"text " * 50), 1),
        ("a.jsonl", LINES, 3),
        ("a.jsonl.gz", gzip.compress(LINES), 3),
        ("a.csv", TABLE, 3),
        ("a.parquet", _parquet(), 50),
        ("a.png", _image(), 1),
    ],
)
def test_every_format_passes_the_suite_of_formats(name: str, content: bytes, records: int) -> None:
    def make() -> Callable[[Content], Iterator[Decoded]]:
        return lambda given: Decoder(AutoFormat(), Limits(record_bytes=2**20)).decode(given, name)

    check_format(make, content, records)


def test_binary_passes_the_suite_of_formats() -> None:
    check_format(
        lambda: lambda given: Decoder(FormatSettings(kind="binary"), Limits()).decode(given, "a"), b"\x00\xff" * 10, 1
    )


def _good(content: Content) -> Iterator[Decoded]:
    yield from Decoder(FormatSettings(kind="jsonl"), Limits()).decode(content, "a.jsonl")


def _shifted(content: Content) -> Iterator[Decoded]:
    """Numbers rows from 1."""
    for piece in _good(content):
        yield replace(piece, rows=[row + 1 for row in piece.rows])


def _silent(content: Content) -> Iterator[Decoded]:
    """Leaves bad rows out."""
    for piece in _good(content):
        yield replace(piece, rejects=[])


def _hiding(content: Content) -> Iterator[Decoded]:
    """Has a column that hides a provenance column."""
    for piece in _good(content):
        names = ["source" if name == "a" else name for name in piece.table.column_names]
        yield replace(piece, table=piece.table.rename_columns(names))


def _crashing(content: Content) -> Iterator[Decoded]:
    """Lets its parser's own error through."""
    yield from _good(bytes(content).decode("utf-8").encode())


def _unsure(content: Content) -> Iterator[Decoded]:
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
        check_format(lambda: broken, content, 3)
