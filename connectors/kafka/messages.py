"""Messages become tables of records."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import Message

from stream_infer.connectors.kafka.contents import Contents
from stream_infer.connectors.kafka.ranges import coordinate
from stream_infer.contracts import ReadOutcome
from stream_infer.errors import RejectRecord
from stream_infer.records import RECORD_FIELDS
from stream_infer.splits import Reject, Split

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_MOMENT = itemgetter(1)  # of (kind, milliseconds)
_HEADERS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))


def span_of(messages: Sequence[Message]) -> tuple[int, int] | None:
    """First and last offset of messages that are all records; None where an error event is among them."""
    if any(map(Message.error, messages)):
        return None
    return messages[0].offset() or 0, messages[-1].offset() or 0


def usable(split: Split, messages: list[Message], most: int, outcome: ReadOutcome) -> tuple[list[Message], int]:
    """The messages that hold a value of bearable size, and the bytes of all. The others are rejects."""
    lengths = list(map(len, messages))
    if min(lengths) > 0 and max(lengths) <= most:
        return messages, sum(lengths)
    kept = []
    for message, length in zip(messages, lengths, strict=True):
        if length > most:
            problem = RejectRecord(f"{length} bytes are more than limits.record_bytes", reason="too_large")
            outcome.rejects.append(_reject(split, message.offset() or 0, problem))
        elif length == 0 and message.value() is None:
            problem = RejectRecord("the message has no value (a tombstone)", reason="tombstone")
            outcome.rejects.append(_reject(split, message.offset() or 0, problem))
        else:
            kept.append(message)
    return kept, sum(lengths)


def table_of(split: Split, messages: Sequence[Message], contents: Contents, outcome: ReadOutcome) -> pa.Table:
    """The messages as records; what cannot be decoded is a reject."""
    content, rows, failures = contents.decode([value or b"" for value in map(Message.value, messages)])
    outcome.rejects.extend(_reject(split, messages[row].offset() or 0, error) for row, error in failures)
    chosen = [messages[row] for row in rows] if len(rows) != len(messages) or failures else messages
    headers = list(map(Message.headers, chosen))
    parents = [traceparent(pairs) for pairs in headers] if any(headers) else []
    outcome.origins += changes(parents, outcome.origins[-1:])
    arrays = _provenance(split, chosen, parents)
    if "headers" not in content.column_names:
        content = content.append_column("headers", _headers(headers))
    fields = [*RECORD_FIELDS, *content.schema]
    return pa.Table.from_arrays([*arrays, *content.columns], schema=pa.schema(fields))


def _provenance(split: Split, messages: Sequence[Message], parents: Sequence[str | None]) -> list[pa.Array]:
    """The columns of `RECORD_FIELDS`. Methods are mapped, not called in a loop: there are a million messages a minute."""
    count = len(messages)
    prefix = coordinate(split, 0)[:-1]
    offsets = pa.array(np.fromiter(map(Message.offset, messages), np.int64, count)).cast(pa.string())
    keys = list(map(Message.key, messages))
    times = np.fromiter(map(_MOMENT, map(Message.timestamp, messages)), np.int64, count)
    traced = [parent[3:35] if parent else split.trace_id for parent in parents]
    return [
        pc.binary_join_element_wise(prefix, offsets, ""),
        pa.repeat(pa.scalar(split.source), count),
        pa.nulls(count, pa.string()) if keys.count(None) == count else pa.array(map(_text, keys), pa.string()),
        pa.array(times * 1000, pa.timestamp("us", tz="UTC"), mask=times <= 0),
        pa.array(traced, pa.string()) if traced else pa.repeat(pa.scalar(split.trace_id, pa.string()), count),
    ]


def _reject(split: Split, offset: int, error: RejectRecord) -> Reject:
    return Reject(coordinate(split, offset), split.source, "read", error.reason, str(error), split.attempt, time.time())


def _text(key: bytes | None) -> str | None:
    return None if key is None else key.decode("utf-8", "replace")


def _headers(found: Sequence[Any]) -> pa.Array:
    if not any(found):
        return pa.nulls(len(found), _HEADERS)
    pairs = [[{"key": key, "value": value} for key, value in headers] if headers else None for headers in found]
    return pa.array(pairs, _HEADERS)


def traceparent(headers: Any) -> str | None:
    """The W3C ``traceparent``, ``VERSION-TRACE-SPAN-FLAGS``, if the message has one that is well formed."""
    for key, value in headers or ():
        if key.lower() == "traceparent" and value is not None:
            text = str(value.decode("ascii", "replace"))
            if (found := _TRACEPARENT.match(text)) and set(found[1]) != {"0"} and set(found[2]) != {"0"}:
                return found[0]
    return None


def changes(parents: Sequence[str | None], last: Sequence[str]) -> list[str]:
    """Each once in a row, ``last`` not again: a producer may send many messages in one span."""
    found = list(last)
    for parent in parents:
        if parent is not None and parent != (found[-1] if found else None):
            found.append(parent)
    return found[len(last) :]
