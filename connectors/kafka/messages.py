"""Messages become tables of records."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import Message

from stream_infer.connectors.kafka.contents import Contents
from stream_infer.connectors.kafka.partition_log import range_of
from stream_infer.contracts import Piece
from stream_infer.errors import RejectRecord
from stream_infer.records import RECORD_FIELDS
from stream_infer.splits import Loss, Reject, Split

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_MILLISECONDS = itemgetter(1)  # of (kind, milliseconds)
_HEADERS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))


@dataclass(slots=True)
class Run:
    """Neighbouring messages of a split on their way into one table, and the records among them that have no value.

    Attributes:
        bytes: of all messages, rejected ones included.
    """

    messages: list[Message] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    bytes: int = 0

    @property
    def empty(self) -> bool:
        return not (self.messages or self.rejects or self.losses)

    def add(self, split: Split, messages: list[Message], most: int) -> None:
        """Append the messages. Those without a value, or larger than ``most`` bytes, become rejects."""
        lengths = list(map(len, messages))
        self.bytes += sum(lengths)
        if min(lengths) > 0 and max(lengths) <= most:
            self.messages += messages
            return
        for message, length in zip(messages, lengths, strict=True):
            if length > most:
                problem = RejectRecord(f"{length} bytes are more than limits.record_bytes", reason="too_large")
                self.rejects.append(_reject(split, message.offset() or 0, problem))
            elif length == 0 and message.value() is None:
                problem = RejectRecord("the message has no value (a tombstone)", reason="tombstone")
                self.rejects.append(_reject(split, message.offset() or 0, problem))
            else:
                self.messages.append(message)


def offsets_of(messages: Sequence[Message]) -> tuple[int, int] | None:
    """First and last offset of messages that are all records; None where an error event is among them."""
    if any(map(Message.error, messages)):
        return None
    return messages[0].offset() or 0, messages[-1].offset() or 0


def piece_of(split: Split, run: Run, contents: Contents) -> Piece:
    """Decode the messages of a run; what cannot be decoded is a reject."""
    if not run.messages:
        return Piece(rejects=tuple(run.rejects), losses=tuple(run.losses), bytes=run.bytes)
    messages = run.messages
    content, rows, failures = contents.decode([value or b"" for value in map(Message.value, messages)])
    undecodable = [_reject(split, messages[row].offset() or 0, error) for row, error in failures]
    chosen = [messages[row] for row in rows] if len(rows) != len(messages) or failures else messages
    headers = list(map(Message.headers, chosen))
    parents = [traceparent(pairs) for pairs in headers] if any(headers) else []
    arrays = _provenance(split, chosen, parents)
    if "headers" not in content.column_names:
        content = content.append_column("headers", _headers(headers))
    schema = pa.schema([*RECORD_FIELDS, *content.schema])
    table = pa.Table.from_arrays([*arrays, *content.columns], schema=schema)
    return Piece(table, (*run.rejects, *undecodable), tuple(run.losses), run.bytes, without_repetition(parents))


def _provenance(split: Split, messages: Sequence[Message], parents: Sequence[str | None]) -> list[pa.Array]:
    """The columns of `RECORD_FIELDS`. Methods are mapped, not called in a loop, for a million messages a minute."""
    count = len(messages)
    log = range_of(split).log
    offsets = pa.array(np.fromiter(map(Message.offset, messages), np.int64, count)).cast(pa.string())
    keys = list(map(Message.key, messages))
    times = np.fromiter(map(_MILLISECONDS, map(Message.timestamp, messages)), np.int64, count)
    traced = [parent[3:35] if parent else split.trace_id for parent in parents]
    return [
        pc.binary_join_element_wise(f"{log}/", offsets, ""),
        pa.repeat(pa.scalar(split.source), count),
        pa.nulls(count, pa.string()) if keys.count(None) == count else pa.array(map(_text, keys), pa.string()),
        pa.array(times * 1000, pa.timestamp("us", tz="UTC"), mask=times <= 0),
        pa.array(traced, pa.string()) if traced else pa.repeat(pa.scalar(split.trace_id, pa.string()), count),
    ]


def _reject(split: Split, offset: int, error: RejectRecord) -> Reject:
    record_id = range_of(split).record_id(offset)
    return Reject(record_id, split.source, "read", error.reason, str(error), split.attempt, time.time())


def _text(key: bytes | None) -> str | None:
    return None if key is None else key.decode("utf-8", "replace")


def _headers(headers_by_row: Sequence[Any]) -> pa.Array:
    if not any(headers_by_row):
        return pa.nulls(len(headers_by_row), _HEADERS)
    pairs = [
        [{"key": key, "value": value} for key, value in headers] if headers else None for headers in headers_by_row
    ]
    return pa.array(pairs, _HEADERS)


def traceparent(headers: Any) -> str | None:
    """The W3C ``traceparent``, ``VERSION-TRACE-SPAN-FLAGS``, if the message has one that is well formed."""
    for key, value in headers or ():
        if key.lower() == "traceparent" and value is not None:
            match = _TRACEPARENT.match(str(value.decode("ascii", "replace")))
            if match and set(match[1]) != {"0"} and set(match[2]) != {"0"}:
                return match[0]
    return None


def without_repetition(parents: Sequence[str | None]) -> tuple[str, ...]:
    """The parents without neighbours that are equal: a producer may send many messages in one span."""
    return tuple(parent for parent, _ in groupby(parent for parent in parents if parent is not None))
