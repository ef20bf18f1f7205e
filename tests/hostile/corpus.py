"""A corpus of hostile input, made anew at each call: files by suffix, and messages of Kafka.

What is here is either damaged, a bomb, a lie about itself, or an attempt to reach what it must not. Nothing in it is
dangerous to keep: it is built in memory from a few lines each.
"""

from __future__ import annotations

import functools
import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from PIL import Image

RECORD_BYTES = 1_000_000  # the limit that the corpus is held against


@dataclass(frozen=True)
class Case:
    """One file.

    Attributes:
        name: its key; the suffix chooses the decoder under ``format: auto``.
        fate: ``row``, ``reject``, or ``any`` where both, or no record at all, are right.
    """

    name: str
    content: bytes
    fate: str = "reject"


def files() -> list[Case]:
    """Every file of the corpus, names differing."""
    makers: tuple[Callable[[], Iterator[Case]], ...] = (_texts, _gzip, _zstd, _jsonl, _csv, _parquet, _images, _names)
    return [case for maker in makers for case in maker()]


def _cut(name: str, content: bytes, suffix: str, fate: str = "reject") -> Iterator[Case]:
    """The file cut off at eight positions."""
    for part in range(1, 9):
        yield Case(f"{name}-cut-{part}.{suffix}", content[: len(content) * part // 9], fate)


def _texts() -> Iterator[Case]:
    yield Case("text/empty.txt", b"", "row")
    yield Case("text/nul.txt", b"a\0b", "row")
    yield Case("text/bom-only.txt", b"\xef\xbb\xbf", "row")
    yield Case("text/control.txt", bytes(range(32)) + b"\x7f\x1b[2J\x1b]0;title\x07", "row")
    yield Case("text/right-to-left.txt", "\u202egnp.exe\u2066\u2069".encode(), "row")
    yield Case("text/line-of-900-kB.txt", b"a" * 900_000, "row")
    yield Case("text/line-of-50-MB.txt", b"a" * 50_000_000)
    yield Case("text/overlong.txt", b"\xc0\xaf\xe0\x80\xaf")
    yield Case("text/surrogates.txt", b"\xed\xa0\x80\xed\xb0\x80")
    yield Case("text/beyond-unicode.txt", b"\xf7\xbf\xbf\xbf")
    yield Case("text/latin1.txt", "grüße".encode("latin-1"))
    yield Case("text/utf16.txt", "text".encode("utf-16"))
    yield Case("text/cut-character.txt", "ü".encode()[:1])
    yield Case("text/no-suffix", b"\xff\xfe")
    yield Case("text/program.txt", b"#!/bin/sh\ntouch executed\n", "row")
    yield Case("text/template.txt", b"${CANARY} {{ 7 * 7 }} %(secret)s $(touch executed) `touch executed`", "row")


def _gzip() -> Iterator[Case]:
    good = gzip.compress(b"hello " * 100, mtime=0)
    yield Case("gzip/good.txt.gz", good, "row")
    yield from _cut("gzip/text", good, "txt.gz")
    yield Case("gzip/empty.txt.gz", b"", "any")
    yield Case("gzip/not.txt.gz", b"this is no gzip")
    yield Case("gzip/wrong-crc.txt.gz", good[:-8] + bytes(4) + good[-4:])
    yield Case("gzip/wrong-length.txt.gz", good[:-4] + b"\xff\xff\xff\x7f")
    yield Case("gzip/garbage-behind.txt.gz", good + b"garbage", "any")
    yield Case("gzip/second-member-cut.txt.gz", good + good[:20])
    yield Case("gzip/endless-name.txt.gz", good[:3] + b"\x08" + good[4:10] + b"n" * 500_000)
    yield Case("gzip/bomb.txt.gz", _gzip_bomb(200))
    yield Case("gzip/bomb.jsonl.gz", _gzip_bomb(200))
    yield Case("gzip/bomb.csv.gz", _gzip_bomb(200))
    yield Case("gzip/bomb.png.gz", _gzip_bomb(200))
    yield Case("gzip/bomb-in-bomb.txt.gz", gzip.compress(_gzip_bomb(50)), "any")
    yield Case("gzip/many-members.txt.gz", gzip.compress(b"x") * 20_000, "row")


@functools.cache
def _gzip_bomb(megabytes: int) -> bytes:
    return gzip.compress(bytes(megabytes * 1_000_000), 9, mtime=0)


def _zstd() -> Iterator[Case]:
    good = zstandard.ZstdCompressor(write_checksum=True).compress(b"hello " * 100)
    yield Case("zstd/good.txt.zst", good, "row")
    yield from _cut("zstd/text", good, "txt.zst")
    yield Case("zstd/not.txt.zst", b"this is no zstd")
    yield Case("zstd/empty.txt.zst", b"", "any")
    yield Case("zstd/wrong-checksum.txt.zst", good[:-4] + bytes(4))
    yield Case("zstd/bomb.txt.zst", zstandard.ZstdCompressor(level=19).compress(bytes(500_000_000)))
    yield Case("zstd/bomb.jsonl.zst", zstandard.ZstdCompressor(level=3).compress(b'{"a":1}\n' * 20_000_000))
    yield Case("zstd/many-frames.txt.zst", zstandard.compress(b"x") * 20_000, "row")
    yield Case("zstd/skippable-only.txt.zst", struct.pack("<II", 0x184D2A50, 4) + b"skip", "any")
    yield Case("zstd/skippable-lie.txt.zst", struct.pack("<II", 0x184D2A50, 0x7FFFFFFF) + b"skip")
    # a frame header that asks for a window of 2^41 bytes
    yield Case("zstd/huge-window.txt.zst", b"\x28\xb5\x2f\xfd\x00" + bytes([31 << 3]) + b"\x01\x00\x00")
    # a frame that says it holds 2^62 bytes
    yield Case("zstd/huge-content.txt.zst", b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 2**62) + b"\x01\x00\x00", "any")
    wanted = zstandard.ZstdCompressionDict(b"word " * 400, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    yield Case(
        "zstd/unknown-dictionary.txt.zst", zstandard.ZstdCompressor(dict_data=wanted).compress(b"word " * 90), "any"
    )


def _jsonl() -> Iterator[Case]:
    yield Case("jsonl/empty.jsonl", b"", "any")
    yield Case("jsonl/blank.jsonl", b"\n \n\t\n", "any")
    yield Case("jsonl/not.jsonl", b"this is no JSON")
    yield Case("jsonl/arrays.jsonl", b"[1]\n[2]\n")
    yield Case("jsonl/scalars.jsonl", b'1\n"two"\nnull\ntrue\n')
    yield Case("jsonl/deep-arrays.jsonl", b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    yield Case("jsonl/deep-objects.jsonl", b'{"a":' * 100_000 + b"1" + b"}" * 100_000)
    for depth in (20, 100, 200, 500, 1000):
        yield Case(f"jsonl/nested-{depth}.jsonl", b'{"a":' * depth + b"1" + b"}" * depth, "any")
        yield Case(f"jsonl/lists-{depth}.jsonl", b'{"a":' + b"[" * depth + b"1" + b"]" * depth + b"}", "any")
    yield Case("jsonl/open.jsonl", b'{"a": 1')
    yield Case("jsonl/two-on-a-line.jsonl", b'{"a": 1} {"a": 2}')
    yield Case("jsonl/invalid-utf8.jsonl", b'{"a": "\xff"}')
    yield Case("jsonl/lone-surrogate.jsonl", b'{"a": "\\ud800"}')
    yield Case("jsonl/nul-in-key.jsonl", b'{"a\\u0000b": 1}', "any")
    yield Case("jsonl/empty-key.jsonl", b'{"": 1}', "any")
    yield Case("jsonl/key-of-500-kB.jsonl", b'{"' + b"k" * 500_000 + b'": 1}', "any")
    yield Case("jsonl/20000-keys.jsonl", json.dumps({f"k{n}": n for n in range(20_000)}).encode(), "any")
    yield Case("jsonl/each-line-its-own-key.jsonl", b"".join(b'{"k%d": 1}\n' % n for n in range(3000)), "any")
    yield Case("jsonl/twice-the-key.jsonl", b'{"a": 1, "a": 2}', "row")
    yield Case("jsonl/reserved.jsonl", b'{"record_id": "x", "split_id": "y", "model": "z", "trace_id": 1}', "row")
    yield Case("jsonl/reserved-twice.jsonl", b'{"key": 1, "key_": 2}')
    yield Case("jsonl/proto.jsonl", b'{"__proto__": {"a": 1}, "__class__": "os.system", "$ref": "file:///etc"}', "row")
    yield Case("jsonl/number-of-a-megadigit.jsonl", b'{"a": ' + b"9" * 900_000 + b"}", "any")
    yield Case("jsonl/infinite.jsonl", b'{"a": 1e999999}', "any")
    yield Case("jsonl/nan.jsonl", b'{"a": NaN}')
    yield Case("jsonl/beyond-64-bits.jsonl", b'{"a": 18446744073709551615}\n{"a": -1}\n', "any")
    yield Case(
        "jsonl/all-kinds.jsonl", b'{"a": 1}\n{"a": "x"}\n{"a": [1]}\n{"a": {"b": 1}}\n{"a": null}\n{"a": 1.5}', "row"
    )
    yield Case("jsonl/empty-objects.jsonl", b'{"a": {}}\n{"a": [{}]}\n{"a": {"b": {}}}', "any")
    yield Case("jsonl/old-line-ends.jsonl", b'{"a": 1}\r{"a": 2}\r')
    yield Case("jsonl/line-of-50-MB.jsonl", b'{"a": "' + b"a" * 50_000_000 + b'"}')


def _csv() -> Iterator[Case]:
    yield Case("csv/empty.csv", b"")
    yield Case("csv/header-only.csv", b"a,b,c\n", "any")
    yield Case("csv/blank.csv", b"\n\n\n")
    yield Case("csv/nul.csv", b"a,b\n1,\0\n", "any")
    yield Case("csv/binary.csv", bytes(range(256)) * 8, "any")
    yield Case("csv/open-quote.csv", b'a,b\n"1,2\n3,4\n', "any")
    yield Case("csv/quote-within.csv", b'a,b\n1"2,3\n', "any")
    yield Case("csv/ragged.csv", b"a,b\n1\n1,2,3\n1,2\n", "any")
    yield Case("csv/twice-the-name.csv", b"a,a\n1,2\n")
    yield Case("csv/reserved.csv", b"record_id,key,key_\n1,2,3\n")
    yield Case("csv/no-names.csv", b",,\n1,2,3\n")
    yield Case(
        "csv/50000-columns.csv", b",".join(b"c%d" % n for n in range(50_000)) + b"\n" + b"1," * 49_999 + b"1\n", "any"
    )
    yield Case("csv/field-of-900-kB.csv", b"a,b\n1," + b"x" * 900_000 + b"\n", "any")
    yield Case("csv/formula.csv", b"a\n=cmd|'/C calc'!A0\n@SUM(1)\n", "row")
    yield Case("csv/latin1.csv", "a,b\n1,grüße\n2,x\n".encode("latin-1"), "any")
    yield Case("csv/latin1-header.csv", "größe,b\n1,2\n".encode("latin-1"))
    yield Case("csv/utf16.csv", "a,b\n1,2\n".encode("utf-16"), "any")
    yield Case("csv/old-line-ends.csv", b"a,b\r1,2\r3,4\r", "any")
    yield Case("csv/mixed-types.csv", b"a\n" + b"1\n" * 5000 + b"x\n", "any")
    yield Case("csv/numbers-too-large.csv", b"a\n1e999\n99999999999999999999999999\n", "any")


def _parquet() -> Iterator[Case]:
    good = _table(pa.table({"n": range(500), "s": [f"row {n}" for n in range(500)]}))
    yield from _cut("parquet/plain", good, "parquet")
    yield Case("parquet/empty.parquet", b"")
    yield Case("parquet/magic-only.parquet", b"PAR1PAR1")
    yield Case("parquet/magic-at-the-end.parquet", b"x" * 100 + b"PAR1")
    yield Case("parquet/encrypted.parquet", b"PARE" + good[4:-4] + b"PARE")
    for number, length in enumerate((0, 1, 2**16, 2**31 - 1, 2**32 - 1)):
        yield Case(f"parquet/footer-length-{number}.parquet", good[:-8] + struct.pack("<I", length) + b"PAR1")
    for offset in range(0, 240, 12):  # the footer is Thrift: sizes, types and counts that lie
        at = len(good) - 9 - offset
        yield Case(
            f"parquet/footer-lie-{offset}.parquet",
            good[:at] + b"\xff\xff\xff\xff\x7f"[: len(good) - at] + good[at + 5 :],
            "any",
        )
    for number, offset in enumerate((4, 6, 10, 20, 40)):  # page headers
        yield Case(
            f"parquet/page-lie-{number}.parquet", good[:offset] + b"\xff\xff\xff\x7f" + good[offset + 4 :], "any"
        )
    yield Case("parquet/no-columns.parquet", _table(pa.table({})))
    yield Case("parquet/no-rows.parquet", _table(pa.table({"a": pa.array([], pa.int64())})), "any")
    yield Case("parquet/twice-the-name.parquet", _table(pa.table([[1], [2]], names=["a", "a"])))
    yield Case(
        "parquet/reserved.parquet", _table(pa.table({"record_id": ["x"], "source": ["y"], "trace_id": [b"z"]})), "row"
    )
    yield Case("parquet/nul-in-name.parquet", _table(pa.table({"a\0b": [1]})), "any")
    yield Case("parquet/names.parquet", _table(pa.table({"../../etc/passwd": [1], "${CANARY}": [2], "": [3]})), "row")
    deep = pa.array([1])
    for _ in range(60):
        deep = pa.StructArray.from_arrays([deep], ["a"])
    yield Case("parquet/60-structs.parquet", _table(pa.table({"a": deep})), "any")
    wide = pa.table({f"c{n}": [n] for n in range(5000)})
    yield Case("parquet/5000-columns.parquet", _table(wide), "any")
    # few bytes that stand for many: run lengths of one long value
    yield Case("parquet/bomb-of-one-value.parquet", _bomb("x" * 900_000, 2_000), "any")
    yield Case("parquet/bomb-of-rows.parquet", _bomb("x", 5_000_000), "any")
    pickled = pa.table({"a": [1]}).replace_schema_metadata(
        {"pandas": b'{"columns": "__import__(\'os\')"}', "ARROW:schema": b"!"}
    )
    yield Case("parquet/metadata.parquet", _table(pickled), "any")
    extension = pa.table({"a": [b"cos\nsystem\n(S'touch executed'\ntR."]}).cast(
        pa.schema(
            [
                pa.field(
                    "a",
                    pa.binary(),
                    metadata={
                        "ARROW:extension:name": "arrow.py_extension_type",
                        "ARROW:extension:metadata": b"cos\nsystem\n(S'touch executed'\ntR.",
                    },
                )
            ]
        )
    )
    yield Case("parquet/pickled-extension.parquet", _table(extension), "any")
    sink = io.BytesIO()
    pq.write_table(pa.table({"name": [1]}), sink, store_schema=False)
    yield Case("parquet/name-in-no-utf-8.parquet", sink.getvalue().replace(b"name", b"\xffame"))


def _table(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def _bomb(value: str, rows: int) -> bytes:
    dictionary = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([value]))
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": dictionary}), sink, store_schema=False, row_group_size=rows)
    return sink.getvalue()


def _images() -> Iterator[Case]:
    for kind, suffix in (
        ("PNG", "png"),
        ("JPEG", "jpg"),
        ("GIF", "gif"),
        ("WEBP", "webp"),
        ("BMP", "bmp"),
        ("TIFF", "tif"),
    ):
        good = _image(kind)
        yield from _cut(f"image/{suffix}", good, suffix, "any" if kind in ("GIF", "TIFF", "WEBP") else "reject")
        yield Case(f"image/wrong-suffix.{suffix}", _image("PNG" if kind != "PNG" else "JPEG"), "row")
    for mode in ("1", "L", "P", "LA", "RGBA", "I", "I;16", "CMYK"):
        sink = io.BytesIO()
        Image.new(mode, (20, 10)).save(sink, "TIFF" if mode in ("CMYK", "I") else "PNG")
        yield Case(
            f"image/mode-{mode.replace(';', '')}.{'tif' if mode in ('CMYK', 'I') else 'png'}", sink.getvalue(), "row"
        )
    yield Case("image/text.png", b"this is no image")
    yield Case("image/script.png", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")
    yield Case(
        "image/program.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch executed) (w) file\n%%EOF"
    )
    yield Case("image/bomb-1-bit.png", _png(60_000, 60_000, 1, zlib.compress(bytes(10_000_000), 9)))
    yield Case("image/bomb-rgb.png", _png(30_000, 30_000, 8, zlib.compress(bytes(10_000_000), 9)))
    yield Case("image/lying-size.png", _png(2**31 - 1, 2**31 - 1, 8, b""))
    yield Case("image/no-size.png", _png(0, 0, 8, b""))
    yield Case("image/one-row.png", _png(2**31 - 1, 1, 1, zlib.compress(b"\0")))
    yield Case("image/short-data.png", _png(500, 500, 8, zlib.compress(b"\0" * 100)))
    yield Case("image/text-bomb.png", _with_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(100_000_000), 9)), "any")
    yield Case("image/profile-bomb.png", _with_chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(100_000_000), 9)), "any")
    jpeg = _image("JPEG")
    at = jpeg.index(b"\xff\xc0")
    yield Case("image/lying-size.jpg", jpeg[: at + 5] + b"\xff\xdc\xff\xdc" + jpeg[at + 9 :])
    # a TIFF whose first directory follows itself
    yield Case("image/endless.tif", b"II*\0\x08\0\0\0" + struct.pack("<H", 0) + struct.pack("<I", 8))
    yield Case("image/lying-directory.tif", b"II*\0\x08\0\0\0" + struct.pack("<H", 65_535) + bytes(100))
    frames = [Image.new("L", (64, 64), color=n % 256) for n in range(500)]
    sink = io.BytesIO()
    frames[0].save(sink, "GIF", save_all=True, append_images=frames[1:])
    yield Case("image/500-frames.gif", sink.getvalue(), "row")


def _image(kind: str) -> bytes:
    sink = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(sink, kind)
    return sink.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, depth: int, data: bytes) -> bytes:
    colour = 0 if depth == 1 else 2
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _with_chunk(kind: bytes, data: bytes) -> bytes:
    good = _image("PNG")
    return good[:33] + _chunk(kind, data) + good[33:]


def _names() -> Iterator[Case]:
    """Keys that would climb, hide, break a line or a URL; the content is harmless."""
    for name in (
        "a%2e%2e/b.txt", "%00.txt", "line\nbreak.txt", "tab\t.txt", "per%cent.txt", "q?version=1.txt", "h#1.txt",
        "quote'\".txt", "<script>.txt", "\u202etxt.exe", "e\u0301.txt", "😀.txt", "a b+c.txt", "back\\slash.txt",
        "$(touch executed).txt", "`id`.txt", ";rm -rf.txt", "n" * 200 + ".txt", "…/dots.txt", "=cmd.txt", "-rf.txt",
    ):  # fmt: skip
        yield Case(f"names/{name}", b"harmless", "row")


def messages() -> list[tuple[str, bytes | None, bytes | None, list[tuple[str, bytes | None]]]]:
    """(name, key, value, headers) for a topic of text."""
    return [
        ("tombstone", b"k", None, []),
        ("empty", b"", b"", []),
        ("not UTF-8", None, b"\xff\xfe", []),
        ("a key that is not UTF-8", b"\xff\x00", b"text", []),
        ("900 kB", None, b"x" * 900_000, []),
        ("a header of 900 kB", None, b"text", [("h", b"x" * 900_000)]),
        ("10,000 headers", None, b"text", [(f"h{n}", b"v") for n in range(10_000)]),
        ("a header without a value", None, b"text", [("h", None)]),
        ("a header name with NUL", None, b"text", [("a\0b", b"v")]),
        ("a header that is binary", None, b"text", [("h", bytes(range(256)))]),
        ("traceparent of rubbish", None, b"text", [("traceparent", b"\xff" * 100)]),
        ("traceparent of zeros", None, b"text", [("traceparent", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01")]),
        ("traceparent of a megabyte", None, b"text", [("traceparent", b"-" * 500_000)]),
        ("a template", b"${CANARY}", b"${CANARY} {{ 7 * 7 }}", [("${CANARY}", b"${CANARY}")]),
        ("NUL", b"\0", b"\0\0", [("h", b"\0")]),
        ("control characters", None, b"\x1b[2J\x07\r\n", []),
    ]


def pointers(allowed: str) -> list[bytes]:
    """Values that name what a pointer must not reach; ``allowed`` is the URL of the folder it may."""
    base = allowed.rstrip("/")
    bucket = base.split("/")[2]
    return [
        value.encode() if isinstance(value, str) else value
        for value in (
            "file:///etc/passwd", "/etc/passwd", "etc/passwd", "../../etc/passwd", "http://169.254.169.254/latest/meta-data/",
            "http://127.0.0.1:22/", "https://localhost/", "gopher://x/", "ftp://x/y", "s3://other-bucket/secret.txt",
            f"s3://{bucket}/secret.txt", f"{base}/../secret.txt", f"{base}/a/../../secret.txt", f"{base}/%2e%2e/secret.txt",
            f"{base}/..%2fsecret.txt", f"{base}-evil/x.txt", f"{base}", f"{base}/", base.replace("s3://", "S3://") + "/a.txt",
            base.replace(bucket, f"user@{bucket}") + "/a.txt", base.replace("s3://", "s3:///") + "/a.txt",
            f" \n{base}/../secret.txt", f"{base}/a\0b.txt", f"{base}/a\nb.txt", f"{base}//../secret.txt", f"{base}/./../secret.txt",
            "", " ", "://", "s3://", "s3:///", "{}", '{"url": "file:///etc/passwd"}', "x" * 100_000, b"\xff\xfe", b"\0",
            f"{base}/there-is-none.txt", f"{base}/" + "n" * 2000, f"{base}/%2e%2e%2fsecret.txt", f"{base}/..;/secret.txt",
        )
    ]  # fmt: skip
