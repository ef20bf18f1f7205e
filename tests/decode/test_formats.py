"""Every format: good rows come out with their row numbers, bad ones are named, bombs are stopped."""

from __future__ import annotations

import csv
import gzip
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stream_infer.config import AutoFormat, FormatSettings, Limits
from stream_infer.decode.decoder import Decoder
from stream_infer.decode.image import to_array
from stream_infer.errors import RejectRecord

LIMITS = Limits(record_bytes=100_000)
values = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=20)


def _rows(kind: str, content: bytes, name: str = "x") -> tuple[list[dict[str, object]], list[int], list[int]]:
    records: list[dict[str, object]] = []
    rows: list[int] = []
    bad: list[int] = []
    for piece in Decoder(FormatSettings(kind=kind), LIMITS).decode(content, name):
        records += piece.table.to_pylist()
        rows += piece.rows
        bad += [reject.row for reject in piece.rejects]
    return records, rows, bad


@given(st.text(max_size=300), st.sampled_from(["a.txt", "a.txt.gz", "a.txt.zst"]))
def test_text_comes_back(text: str, name: str) -> None:
    content = text.encode("utf-8", "replace")
    packed = gzip.compress if name.endswith("gz") else zstandard.compress if name.endswith("zst") else bytes
    records, rows, _ = _rows("auto", packed(content), name)
    assert records == [{"text": content.removeprefix(b"\xef\xbb\xbf").decode()}]
    assert rows == [0]


@given(
    st.lists(st.one_of(st.dictionaries(st.sampled_from(["a", "key", "c"]), values, min_size=1), st.none()), max_size=20)
)
def test_jsonl_keeps_line_numbers_and_names_bad_lines(documents: list[dict[str, object] | None]) -> None:
    lines = [json.dumps(document) if document is not None else "{not json" for document in documents]
    records, rows, bad = _rows("jsonl", "\n".join(lines).encode())
    assert rows == [row for row, document in enumerate(documents) if document is not None]
    assert bad == [row for row, document in enumerate(documents) if document is None]
    for record, row in zip(records, rows, strict=True):
        for name, value in (documents[row] or {}).items():
            got = record["key_" if name == "key" else name]
            assert got == value or json.loads(str(got)) == value


@given(st.lists(st.tuples(st.text('abc\n" ,', max_size=5), st.booleans()), min_size=1, max_size=20))
def test_csv_rows_that_do_not_fit_are_named(items: list[tuple[str, bool]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["a", "b"])
    for number, (value, fits) in enumerate(items):
        writer.writerow([f"v{value}", number] if fits else [f"v{value}", number, "surplus"])
    records, rows, bad = _rows("csv", text.getvalue().encode())
    assert rows == [row for row, (_, fits) in enumerate(items) if fits]
    assert bad == [row for row, (_, fits) in enumerate(items) if not fits]
    assert [record["a"] for record in records] == [f"v{value}" for value, fits in items if fits]


def test_parquet_rows_count_through_row_groups() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"n": range(12_000)}), sink, row_group_size=7000)
    records, rows, _ = _rows("parquet", sink.getvalue())
    assert rows == list(range(12_000))
    assert records[-1] == {"n": 11_999}


def test_an_image_becomes_a_tensor() -> None:
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    (piece,) = Decoder(FormatSettings(kind="image"), Limits()).decode(sink.getvalue(), "a.png")
    assert (to_array(piece.table.column("image")[0]) == pixels).all()


@pytest.mark.parametrize(
    ("kind", "name", "content"),
    [
        ("text", "a", b"\xff\xfe"),
        ("image", "a", b"no image"),
        ("parquet", "a", b"no parquet"),
        ("text", "a.gz", gzip.compress(b"x" * 1000)[:-9]),
        ("text", "a.gz", b"no gzip"),
        ("text", "a.zst", zstandard.compress(b"x" * 1000)[:-3]),
        ("text", "bomb.gz", gzip.compress(b"0" * 200_000)),
        ("text", "bomb.zst", zstandard.compress(b"0" * 200_000)),
    ],
)
def test_what_cannot_be_decoded_is_a_reject(kind: str, name: str, content: bytes) -> None:
    with pytest.raises(RejectRecord):
        _rows(kind, content, name)


def test_auto_goes_by_suffix() -> None:
    names = {
        "a.JSONL.gz": "jsonl",
        "d/a.csv": "csv",
        "a.jpeg": "image",
        "a.parquet": "parquet",
        "README": "text",
        "x.gz": "text",
    }
    decoder = Decoder(AutoFormat(), LIMITS)
    assert {name: decoder.format_of(name).name for name in names} == names
