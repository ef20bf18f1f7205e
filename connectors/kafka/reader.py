"""The worker's side of Kafka: an offset range becomes tables of records."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from connectors.kafka.cluster import Cluster, Link
from connectors.kafka.contents import Contents, build_contents
from stream_infer import config, crash
from stream_infer.contracts import ReadOutcome
from stream_infer.errors import Fatal, RejectRecord, Retryable
from stream_infer.records import RECORD_FIELDS, KafkaCoordinate, parse_coordinate
from stream_infer.rejects import Original
from stream_infer.splits import Loss, Reject, Split

_MESSAGES = 2000  # of one call to the client
_POLL_SECONDS = 1.0
_SILENCE_SECONDS = 30.0  # a range that exists and does not come
_TABLE_ROWS = 10_000
_TABLE_BYTES = 16 * 2**20
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_NOT_THERE = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)  # the broker has no such offset
_MOMENT = itemgetter(1)  # of (kind, milliseconds)
_HEADERS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))


class KafkaReader:
    """Implements `contracts.Reader`. Keeps its consumer open; reads only what is committed (``read_committed``).

    The end of a range is a position, never a count: compaction and transactions leave gaps.
    """

    def __init__(self, settings: config.KafkaSource, pipeline: str, limits: config.Limits) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._limits = limits
        self._start()

    def _start(self) -> None:
        self._link = Link(self._settings.name, self._settings.servers, self._settings.options)
        self._consumer: Consumer | None = None
        self._cluster = Cluster(self._link)
        self._replaced: set[str] = set()  # ids of topics that are gone
        self._contents: Contents | None = None

    def __getstate__(self) -> tuple[config.KafkaSource, str, config.Limits]:
        return self._settings, self._pipeline, self._limits

    def __setstate__(self, state: tuple[config.KafkaSource, str, config.Limits]) -> None:
        self._settings, self._pipeline, self._limits = state
        self._start()

    def read(self, split: Split, outcome: ReadOutcome) -> Iterator[pa.Table]:
        """See `contracts.Reader.read`."""
        if self._contents is None:
            self._contents = build_contents(self._settings, self._limits)
        if split.bounds.get("topic_id") in self._replaced:
            outcome.losses.append(_loss(split, split.bounds["start"], split.bounds["stop"], "deleted"))
            return
        held: pa.Table | None = None
        met = ReadOutcome()
        try:
            for messages in self._runs(split, met):
                crash.point("kafka.fetched")
                if held is not None:
                    yield held
                held = self._table(split, messages, met)
        except Retryable:
            self._check_topic(split)  # or offsets that the new topic does not have yet would be waited for
            raise
        self._check_topic(split)
        outcome.rejects += met.rejects
        outcome.losses += met.losses
        outcome.bytes += met.bytes
        outcome.origins += met.origins
        if held is not None:
            yield held

    def original(self, split: Split, reject: Reject, most: int) -> Original:
        """See `contracts.Reader.original`."""
        coordinate = parse_coordinate(reject.record_id)
        assert isinstance(coordinate, KafkaCoordinate)
        offset = coordinate.offset
        one = replace(split, bounds={**split.bounds, "start": offset, "stop": offset + 1})
        met = ReadOutcome()
        try:
            found = [message for messages in self._fetches(one, met) for message in messages]
        except Retryable:
            if not self._is_replaced(split):
                raise
            found = []
        if not found or self._is_replaced(split):
            return Original(missing=met.losses[0].reason if met.losses else "gone")
        message = found[0]
        value = message.value()
        headers = tuple((name, data) for name, data in message.headers() or ())
        cut = "too_large" if value is not None and len(value) > most else None
        return Original(message.key(), value if value is None else value[:most], headers, cut)

    def _forget(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _is_replaced(self, split: Split) -> bool:
        """Asked after the reading: an id that is gone never comes back, so what was read before is the topic's."""
        name, planned = _topic(split), split.bounds.get("topic_id")
        found = self._cluster.topics([name]).get(name) if planned else None
        return found is not None and found.topic_id != planned

    def _check_topic(self, split: Split) -> None:
        """Raise Retryable if the topic was made again meanwhile; the next try knows it."""
        if self._is_replaced(split):
            self._replaced.add(split.bounds["topic_id"])
            raise Retryable(f"topic {split.bounds['topic']!r} was made again while it was read", dependency="kafka")

    def _runs(self, split: Split, outcome: ReadOutcome) -> Iterator[list[Message]]:
        """Messages for one table each, those that hold no usable value left out."""
        kept: list[Message] = []
        size = 0
        for messages in self._fetches(split, outcome):
            good, length = self._usable(split, messages, outcome)
            kept += good
            size += length
            if len(kept) >= _TABLE_ROWS or size >= _TABLE_BYTES:
                yield kept
                outcome.bytes += size
                kept, size = [], 0
        outcome.bytes += size
        if kept:
            yield kept

    def _usable(self, split: Split, messages: list[Message], outcome: ReadOutcome) -> tuple[list[Message], int]:
        """The messages that hold a value of bearable size, and the bytes of all. The others are rejects."""
        most = self._limits.record_bytes
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

    def _fetches(self, split: Split, outcome: ReadOutcome) -> Iterator[list[Message]]:
        """Messages of the range, in order, once; what is not there is skipped or a named loss."""
        at, stop = split.bounds["start"], split.bounds["stop"]
        with self._link.answered(self._forget):
            consumer = self._stand(split, at)
            try:
                silent_since = time.monotonic()
                while at < stop:
                    # never waits for a full batch: gaps make a range shorter than its bounds say
                    messages = consumer.consume(_MESSAGES, 0) or consumer.consume(1, _POLL_SECONDS)
                    good = []
                    if messages and (span := _clean(messages)) and at <= span[0] and span[1] < stop:
                        good, at, messages = messages, span[1] + 1, []
                    for message in messages:
                        if at >= stop:
                            break  # what follows, an error event too, is no part of the range
                        if (error := message.error()) is not None and error.code() in _NOT_THERE:
                            at = self._skip_expired(consumer, split, at, outcome)
                            break  # what came along is of where the consumer stood before: it all comes again
                        if error is not None:
                            at = self._met(error, message, split, at)
                        elif (offset := message.offset() or 0) >= at:
                            at = offset + 1
                            if offset < stop:
                                good.append(message)
                    if good:
                        yield good
                        silent_since = time.monotonic()
                    elif time.monotonic() - silent_since > _SILENCE_SECONDS:
                        raise self._link.failure(
                            f"nothing came of {_topic(split)}/{split.bounds['partition']} from {at}"
                        )
            finally:
                consumer.unassign()  # else it would go on fetching what other readers are to read

    def _met(self, error: KafkaError, message: Message, split: Split, at: int) -> int:
        """Where to go on after an error event."""
        if error.code() == KafkaError._PARTITION_EOF:
            return max(at, message.offset() or 0)
        if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION, KafkaError._UNKNOWN_TOPIC):
            raise Retryable(f"topic {_topic(split)!r} does not exist at {self._settings.servers}", dependency="kafka")
        raise self._link.failure(error)

    def _stand(self, split: Split, offset: int) -> Consumer:
        if self._consumer is None:
            self._consumer = Consumer(
                {
                    # a range that is planned is there: waiting at the end would only hold up the next split's fetch
                    # (and a full queue is asked again soon: by default the client rests a second); what is fetched
                    # beyond the range's end is thrown away, so the queue is small
                    **self._link.settings(
                        queued_max_messages_kbytes=1024, fetch_wait_max_ms=10, fetch_queue_backoff_ms=5
                    ),
                    "group.id": f"stream-infer.{self._pipeline}.read",
                    "enable.auto.commit": False,
                    "enable.partition.eof": True,
                    "auto.offset.reset": "error",
                    "isolation.level": "read_committed",
                }
            )
        self._consumer.assign([TopicPartition(_topic(split), split.bounds["partition"], offset)])
        return self._consumer

    def _skip_expired(self, consumer: Consumer, split: Split, at: int, outcome: ReadOutcome) -> int:
        """The range began before what the broker still has: a named loss, and on from there."""
        place = TopicPartition(_topic(split), split.bounds["partition"])
        marks: tuple[int, int] | None = consumer.get_watermark_offsets(place, timeout=_SILENCE_SECONDS, cached=False)
        if marks is None:
            raise self._link.failure("timed out")
        low, high = marks
        if low <= at:
            why = (
                f"ends at {high}, before offset {at} that was planned"
                if high < at
                else f"refused offset {at} of {high}"
            )
            raise Retryable(f"{place.topic}/{place.partition} {why}", dependency="kafka")
        resumed = min(low, split.bounds["stop"])
        if self._settings.on_expired == "stop":
            raise Fatal(expired(self._settings.name, f"{split.bounds['topic']}/{place.partition}", at, resumed))
        outcome.losses.append(_loss(split, at, resumed, "expired"))
        consumer.assign([TopicPartition(place.topic, place.partition, resumed)])
        return resumed

    def _table(self, split: Split, messages: Sequence[Message], outcome: ReadOutcome) -> pa.Table:
        assert self._contents is not None
        content, rows, failures = self._contents.decode([value or b"" for value in map(Message.value, messages)])
        outcome.rejects.extend(_reject(split, messages[row].offset() or 0, error) for row, error in failures)
        chosen = [messages[row] for row in rows] if len(rows) != len(messages) or failures else messages
        headers = list(map(Message.headers, chosen))
        parents = [_traceparent(pairs) for pairs in headers] if any(headers) else []
        outcome.origins += _changes(parents, outcome.origins[-1:])
        arrays = _provenance(split, chosen, parents)
        if "headers" not in content.column_names:
            content = content.append_column("headers", _headers(headers))
        fields = [*RECORD_FIELDS, *content.schema]
        return pa.Table.from_arrays([*arrays, *content.columns], schema=pa.schema(fields))


def _provenance(split: Split, messages: Sequence[Message], parents: Sequence[str | None]) -> list[pa.Array]:
    """The columns of `RECORD_FIELDS`. Methods are mapped, not called in a loop: there are a million messages a minute."""
    count, bounds = len(messages), split.bounds
    prefix = str(KafkaCoordinate(bounds["cluster"], bounds["topic"], bounds["partition"], 0))[:-1]
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


def _clean(messages: Sequence[Message]) -> tuple[int, int] | None:
    """First and last offset of messages that are all records; None where an error event is among them."""
    if any(map(Message.error, messages)):
        return None
    return messages[0].offset() or 0, messages[-1].offset() or 0


def expired(source: str, place: str, start: int, stop: int) -> str:
    """The sentence for a source that is to stop when its records expire unread."""
    return (
        f"{place}: offsets {start} to {stop - 1} expired before they were read; lengthen the topic's retention, or write "
        f"on_expired: skip for source {source}"
    )


def _topic(split: Split) -> str:
    """The topic's name at the broker, without its incarnation."""
    return str(split.bounds["topic"].partition("@")[0])


def _loss(split: Split, start: int, stop: int, reason: str) -> Loss:
    return Loss(_coordinate(split, start), split.source, reason, stop - start)


def _coordinate(split: Split, offset: int) -> str:
    bounds = split.bounds
    return str(KafkaCoordinate(bounds["cluster"], bounds["topic"], bounds["partition"], offset))


def _reject(split: Split, offset: int, error: RejectRecord) -> Reject:
    return Reject(
        _coordinate(split, offset), split.source, "read", error.reason, str(error), split.attempt, time.time()
    )


def _text(key: bytes | None) -> str | None:
    return None if key is None else key.decode("utf-8", "replace")


def _headers(found: Sequence[Any]) -> pa.Array:
    if not any(found):
        return pa.nulls(len(found), _HEADERS)
    pairs = [[{"key": key, "value": value} for key, value in headers] if headers else None for headers in found]
    return pa.array(pairs, _HEADERS)


def _traceparent(headers: Any) -> str | None:
    """The W3C ``traceparent``, ``VERSION-TRACE-SPAN-FLAGS``, if the message has one that is well formed."""
    for key, value in headers or ():
        if key.lower() == "traceparent" and value is not None:
            text = str(value.decode("ascii", "replace"))
            if (found := _TRACEPARENT.match(text)) and set(found[1]) != {"0"} and set(found[2]) != {"0"}:
                return found[0]
    return None


def _changes(parents: Sequence[str | None], last: Sequence[str]) -> list[str]:
    """Each once in a row, ``last`` not again: a producer may send many messages in one span."""
    found = list(last)
    for parent in parents:
        if parent is not None and parent != (found[-1] if found else None):
            found.append(parent)
    return found[len(last) :]
