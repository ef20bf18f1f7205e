"""JSON Lines: one object in each line; blank lines are skipped, a bad line is one reject."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa

from stream_infer.decode.base import MOST_BYTES, MOST_ROWS, Decoded, RowReject
from stream_infer.decode.text import unmarked
from stream_infer.records import RESERVED, Content, content_name

_DEPTH = 64  # levels of nesting: Arrow's and Parquet's readers recurse, and their memory grows with its square


def decode(content: Content) -> Iterator[Decoded]:
    """Decode JSON Lines: keys become columns. ``rows`` are line numbers from 0."""
    documents: list[dict[str, Any]] = []
    rows: list[int] = []
    rejects: list[RowReject] = []
    size = 0
    for row, line in enumerate(bytes(unmarked(content)).split(b"\n")):
        if not line.strip():
            continue
        try:
            documents.append(parse_object(line))
            rows.append(row)
        except ValueError as error:
            rejects.append(RowReject(row, "decode", str(error)))
        size += len(line)
        if len(rows) + len(rejects) >= MOST_ROWS or size >= MOST_BYTES:
            yield Decoded(to_table(documents), rows, rejects)
            documents, rows, rejects, size = [], [], [], 0
    if documents or rejects:
        yield Decoded(to_table(documents), rows, rejects)


def parse_object(text: bytes) -> dict[str, Any]:
    """One JSON object, with keys as names of content columns. Raises ValueError with a sentence."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ValueError(f"the JSON value is a {type(document).__name__}, not an object")
    if not document:
        raise ValueError("the JSON object is empty")
    # counting brackets is cheap, and few documents have enough of them to be too deep
    if text.count(b"{") + text.count(b"[") > _DEPTH and _depth(document) > _DEPTH:
        raise ValueError(f"it is nested deeper than {_DEPTH} levels")
    if RESERVED.isdisjoint(document):
        return document
    renamed = {content_name(name): value for name, value in document.items()}
    if len(renamed) < len(document):
        raise ValueError("two of its keys differ only in the underscore that keeps a provenance column's name free")
    return renamed


def _depth(document: dict[str, Any]) -> int:
    """Levels of objects and arrays; counting stops above the limit."""
    depth = 0
    level: list[Any] = [document]
    while level and depth <= _DEPTH:
        depth += 1
        inner = (item for value in level for item in (value.values() if isinstance(value, dict) else value))
        level = [item for item in inner if isinstance(item, dict | list)]
    return depth


def to_table(documents: list[dict[str, Any]]) -> pa.Table:
    """Parsed objects as columns. A missing key becomes null, a key with values of different types becomes JSON text."""
    names = dict.fromkeys(name for document in documents for name in document)
    return pa.table({name: _column([item.get(name) for item in documents]) for name in names})


def _column(values: list[Any]) -> pa.Array:
    try:
        column = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return _as_json(values)
    # Parquet cannot hold a struct without fields, at any depth
    return _as_json(values) if "struct<>" in str(column.type) else column


def _as_json(values: list[Any]) -> pa.Array:
    return pa.array([None if value is None else orjson.dumps(value).decode() for value in values], pa.string())
