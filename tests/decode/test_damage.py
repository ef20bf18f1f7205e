"""Whatever the bytes are: each row is delivered once or rejected once, and nothing else is raised than a reject."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stream_infer.config import FormatSettings, Limits
from stream_infer.decode.base import Decoded
from stream_infer.decode.decoder import Decoder
from stream_infer.decode.image import to_array, to_pixels
from stream_infer.errors import RejectRecord

LIMITS = Limits(record_bytes=1_000_000)
FORMATS = ("text", "binary", "jsonl", "csv", "parquet", "image")


def _pieces(kind: str, content: bytes, name: str = "x", limits: Limits = LIMITS) -> list[Decoded]:
    return list(Decoder(FormatSettings(kind=kind), limits).decode(content, name))


def _fates(pieces: list[Decoded]) -> tuple[list[int], list[int]]:
    for piece in pieces:
        assert piece.table.num_rows == len(piece.rows)
    return [row for piece in pieces for row in piece.rows], [r.row for piece in pieces for r in piece.rejects]


def _parquet(rows: int = 4000) -> tuple[bytes, pq.FileMetaData]:
    sink = io.BytesIO()
    pq.write_table(pa.table({"n": range(rows), "s": [str(n) * 5 for n in range(rows)]}), sink, row_group_size=1000)
    return sink.getvalue(), pq.ParquetFile(sink).metadata


def _damaged(content: bytes, start: int, size: int) -> bytes:
    return content[:start] + bytes(byte ^ 0x5A for byte in content[start : start + size]) + content[start + size :]


def _image(kind: str, **options: object) -> bytes:
    sink = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(sink, kind, **options)
    return sink.getvalue()


@given(st.sampled_from(FORMATS), st.binary(max_size=200), st.sampled_from(["x", "x.gz", "x.zst"]))
def test_any_bytes(kind: str, content: bytes, name: str) -> None:
    try:
        delivered, rejected = _fates(_pieces(kind, content, name))
    except RejectRecord:
        return
    assert len(set(delivered + rejected)) == len(delivered) + len(rejected)


@given(st.data())
def test_damage_within_real_files(data: st.DataObject) -> None:
    good = {
        "parquet": _parquet()[0],
        "image": _image("PNG"),
        "csv": b"a,b\n" + b"1,x\n" * 50,
        "jsonl": b'{"a": 1, "b": [1, {"c": "x"}]}\n' * 50,
    }
    kind = data.draw(st.sampled_from(sorted(good)))
    content = good[kind]
    start = data.draw(st.integers(0, len(content) - 1))
    try:
        delivered, rejected = _fates(_pieces(kind, _damaged(content, start, data.draw(st.integers(1, 40)))))
    except RejectRecord:
        return
    assert len(set(delivered + rejected)) == len(delivered) + len(rejected)


def test_a_damaged_row_group_is_one_reject_and_its_neighbours_are_delivered() -> None:
    content, metadata = _parquet()
    chunk = metadata.row_group(2).column(1)
    pieces = _pieces("parquet", _damaged(content, chunk.data_page_offset, 300))
    delivered, rejected = _fates(pieces)
    assert rejected == [2000]
    assert delivered == [*range(2000), *range(3000, 4000)]


def test_pieces_are_bounded_by_bytes() -> None:
    table = pa.table({"s": [f"{n:06}" * 1000 for n in range(8000)]})  # 48 MB
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="none", use_dictionary=False)
    lines = b"\n".join(json.dumps({"s": text}).encode() for text in table.column("s").to_pylist())
    for kind, content in (("parquet", sink.getvalue()), ("jsonl", lines), ("csv", lines.replace(b'{"s": ', b""))):
        pieces = _pieces(kind, content, limits=Limits())
        assert len(pieces) > 1
        assert max(piece.table.nbytes for piece in pieces) < 20 * 2**20
        assert sum(piece.table.num_rows for piece in pieces) in (7999, 8000)  # the CSV's first line is its header


@pytest.mark.parametrize("line", [b"{}", b"[1]", b"1", b"null", b'{"key": 1, "key_": 2}', b'{"a": \xff}', b'{"a": 1'])
def test_a_line_that_is_no_record_is_rejected_alone_and_among_others(line: bytes) -> None:
    assert _fates(_pieces("jsonl", line)) == ([], [0])
    assert _fates(_pieces("jsonl", b'{"a": 1}\n' + line + b'\n\n{"a": 2}\n')) == ([0, 3], [1])


def test_jsonl_keeps_values_that_arrow_has_no_common_type_for() -> None:
    lines = b'\xef\xbb\xbf{"key": 1, "m": {}, "n": {"x": [1]}}\r\n{"key_": "a", "m": {}, "n": {"x": [2, 3]}}\r\n'
    (piece,) = _pieces("jsonl", lines)
    assert piece.table.column("key_").to_pylist() == ["1", '"a"']
    assert piece.table.column("n").to_pylist() == [{"x": [1]}, {"x": [2, 3]}]
    pq.write_table(piece.table, io.BytesIO())  # an empty object is a struct without fields, which Parquet cannot hold


def test_csv_rows_that_are_not_utf8_are_rejected() -> None:
    content = b"text,n\ngood,1\nb\xe4d,2\nshort\nagain,4\n"
    (piece,) = _pieces("csv", content)
    assert _fates([piece]) == ([0, 3], [2, 1])
    assert piece.table.to_pydict() == {"text": ["good", "again"], "n": [1, 4]}


@pytest.mark.parametrize("header", [b"a,a", b"key,key_"])
def test_columns_that_would_hide_each_other_are_refused(header: bytes) -> None:
    with pytest.raises(RejectRecord, match="named"):
        _pieces("csv", header + b"\n1,2\n")


def test_a_header_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(RejectRecord, match="UTF-8"):
        _pieces("csv", b"\x80\n1\n")


def test_images_come_upright_and_only_in_known_formats() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    (piece,) = _pieces("image", _image("JPEG", exif=exif))
    assert to_array(piece.table.column("image")[0]).shape == (30, 20, 3)
    with pytest.raises(RejectRecord):
        to_pixels(_image("EPS"))


def test_an_image_that_grows_beyond_the_limit_is_refused_unread() -> None:
    sink = io.BytesIO()
    Image.new("1", (3000, 3000)).save(sink, "PNG")
    assert len(sink.getvalue()) < 10_000
    with pytest.raises(RejectRecord) as refused:
        _pieces("image", sink.getvalue())
    assert refused.value.reason == "too_large"


def test_a_ragged_row_that_is_not_utf8_costs_no_neighbour() -> None:
    content = b"text,n\ngood,1\n\x80,2,3\nb\xe4d,4\n\xc3\xbc,5\n"
    (piece,) = _pieces("csv", content)
    assert _fates([piece]) == ([0, 3], [1, 2])
    assert piece.table.to_pydict() == {"text": ["good", "ü"], "n": [1, 5]}
