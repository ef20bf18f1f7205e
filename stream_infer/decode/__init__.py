"""Bytes to records, one file a format."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from stream_infer.config import Limits
from stream_infer.decode import csv, image, jsonl, parquet, text
from stream_infer.decode.base import Decoded, RowReject
from stream_infer.decode.compression import inflated
from stream_infer.records import Content

__all__ = ["Decoded", "RowReject", "decode", "one_record", "resolve_format"]

_DECODERS: dict[str, Callable[[Content, Limits], Iterator[Decoded]]] = {
    "text": text.decode_text,
    "binary": text.decode_binary,
    "jsonl": jsonl.decode,
    "csv": csv.decode,
    "parquet": parquet.decode,
    "image": image.decode,
}
_SUFFIXES = {
    "json": "jsonl",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "csv": "csv",
    "parquet": "parquet",
    **dict.fromkeys(("png", "jpg", "jpeg", "gif", "webp", "bmp", "tif", "tiff"), "image"),
}


def resolve_format(kind: str, name: str) -> str:
    """The format of an object: the setting, or for ``auto`` what its suffix says (compression set aside); else text."""
    if kind != "auto":
        return kind
    pieces = name.lower().rsplit("/", 1)[-1].split(".")
    if pieces[-1] in ("gz", "zst"):
        pieces.pop()
    return _SUFFIXES.get(pieces[-1], "text") if len(pieces) > 1 else "text"


def one_record(kind: str, name: str) -> bool:
    """Whether an object of this format and name is exactly one record."""
    return resolve_format(kind, name) in ("text", "binary", "image")


def decode(kind: str, content: Content, name: str, limits: Limits) -> Iterator[Decoded]:
    """The records of one object, in pieces of bounded size.

    Args:
        kind: a format, or ``auto``.
        content: the object's bytes; ``.gz`` and ``.zst`` names are decompressed first.
        name: the object's key; only its suffix counts.

    Raises:
        RejectRecord: the object as a whole is not of this format, or is larger than ``limits.record_bytes``.
    """
    yield from _DECODERS[resolve_format(kind, name)](inflated(content, name, limits.record_bytes), limits)
