"""JSON Lines: one object a line; blank lines are nothing; a bad line is one reject."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pyarrow as pa

from stream_infer.config import Limits
from stream_infer.decode.base import MOST_ROWS, Decoded, RowReject
from stream_infer.records import content_name


def decode(content: bytes, _limits: Limits) -> Iterator[Decoded]:
    """The object's own keys as columns. ``rows`` are line numbers from 0."""
    documents: list[dict[str, Any]] = []
    rows: list[int] = []
    rejects: list[RowReject] = []
    for row, line in enumerate(content.splitlines() if b"\r" in content else content.split(b"\n")):
        if not line.strip():
            continue
        try:
            document = parse_object(line)
        except ValueError as error:
            rejects.append(RowReject(row, "decode", str(error)))
            continue
        documents.append(document)
        rows.append(row)
        if len(documents) == MOST_ROWS:
            yield Decoded(to_table(documents), rows, rejects)
            documents, rows, rejects = [], [], []
    if documents or rejects:
        yield Decoded(to_table(documents), rows, rejects)


def parse_object(text: bytes) -> dict[str, Any]:
    """One JSON object. Raises ValueError with a sentence."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ValueError(f"the JSON value is a {type(document).__name__}, not an object")
    return document


def to_table(documents: list[dict[str, Any]]) -> pa.Table:
    """Documents as columns; a key that some lack is null there, one whose types differ becomes JSON text."""
    names = dict.fromkeys(name for document in documents for name in document)
    return pa.table({content_name(name): _column([item.get(name) for item in documents]) for name in names})


def _column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([None if value is None else orjson.dumps(value).decode() for value in values], pa.string())
