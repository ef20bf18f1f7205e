"""The worker's side of Kafka: an offset range becomes tables of records."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from connectors.kafka.cluster import answered, client_options
from connectors.kafka.contents import Contents, build_contents
from stream_infer import config
from stream_infer.contracts import ReadOutcome
from stream_infer.errors import RejectRecord, Retryable
from stream_infer.records import RECORD_FIELDS, KafkaCoordinate
from stream_infer.splits import Loss, Reject, Split

_MESSAGES = 2000  # of one call to the client
_POLL_SECONDS = 1.0
_SILENCE_SECONDS = 30.0  # a range that exists and does not come
_TABLE_ROWS = 10_000
_TABLE_BYTES = 16 * 2**20
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
        self._consumer: Consumer | None = None
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
        kept: list[Message] = []
        size = 0
        for message in self._messages(split, outcome):
            value = message.value()
            outcome.bytes += len(value or b"")
            problem = self._problem(value)
            if problem is not None:
                outcome.rejects.append(_reject(split, message.offset() or 0, problem))
                continue
            kept.append(message)
            size += len(value or b"")
            if len(kept) >= _TABLE_ROWS or size >= _TABLE_BYTES:
                yield self._table(split, kept, outcome)
                kept, size = [], 0
        if kept:
            yield self._table(split, kept, outcome)

    def _problem(self, value: bytes | None) -> RejectRecord | None:
        if value is None:
            return RejectRecord("the message has no value (a tombstone)", reason="tombstone")
        if len(value) > self._limits.record_bytes:
            return RejectRecord(f"{len(value)} bytes are more than limits.record_bytes", reason="too_large")
        return None

    def _messages(self, split: Split, outcome: ReadOutcome) -> Iterator[Message]:
        """Messages of the range, in order, once."""
        topic, number = split.bounds["topic"].partition("@")[0], split.bounds["partition"]
        at, stop = split.bounds["start"], split.bounds["stop"]
        consumer = self._stand(topic, number, at)
        silent_since = time.monotonic()
        while at < stop:
            with answered(self._settings.name, self._settings.servers):
                messages = consumer.consume(min(_MESSAGES, stop - at), _POLL_SECONDS)
            for message in messages:
                error = message.error()
                offset = message.offset() or 0
                if error is None and offset >= stop:
                    return
                if error is None:
                    if offset >= at:
                        at = offset + 1
                        yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    at = max(at, offset)
                elif error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                    at = self._skip_expired(consumer, split, at, outcome)
                else:
                    raise Retryable(f"Kafka at {self._settings.servers} did not answer: {error.str()}")
            if messages:
                silent_since = time.monotonic()
            elif time.monotonic() - silent_since > _SILENCE_SECONDS:
                raise Retryable(f"Kafka at {self._settings.servers} gave nothing of {topic}/{number} from {at}")

    def _stand(self, topic: str, number: int, offset: int) -> Consumer:
        with answered(self._settings.name, self._settings.servers):
            if self._consumer is None:
                self._consumer = Consumer(
                    {
                        "queued.max.messages.kbytes": 65536,
                        "fetch.wait.max.ms": 100,
                        **client_options(self._settings.servers, self._settings.options),
                        "group.id": f"stream-infer.{self._pipeline}.read",
                        "enable.auto.commit": False,
                        "enable.partition.eof": True,
                        "auto.offset.reset": "error",
                        "isolation.level": "read_committed",
                    }
                )
            self._consumer.assign([TopicPartition(topic, number, offset)])
        return self._consumer

    def _skip_expired(self, consumer: Consumer, split: Split, at: int, outcome: ReadOutcome) -> int:
        """The range began before what the broker still has: a named loss, and on from there."""
        bounds = split.bounds
        topic = bounds["topic"].partition("@")[0]
        with answered(self._settings.name, self._settings.servers):
            place = TopicPartition(topic, bounds["partition"])
            low, _high = consumer.get_watermark_offsets(place, timeout=_SILENCE_SECONDS, cached=False)
            resumed = min(max(low, at), bounds["stop"])
            if resumed > at:
                first = _coordinate(split, at)
                outcome.losses.append(Loss(first, split.source, "expired", resumed - at))
            consumer.assign([TopicPartition(topic, bounds["partition"], resumed)])
        return resumed

    def _table(self, split: Split, messages: Sequence[Message], outcome: ReadOutcome) -> pa.Table:
        assert self._contents is not None
        content, rows, failures = self._contents.decode([message.value() or b"" for message in messages])
        outcome.rejects.extend(_reject(split, messages[row].offset() or 0, error) for row, error in failures)
        chosen = [messages[row] for row in rows] if len(rows) != len(messages) or failures else messages
        bounds = split.bounds
        prefix = str(KafkaCoordinate(bounds["cluster"], bounds["topic"], bounds["partition"], 0))[:-1]
        provenance: list[Any] = [
            [f"{prefix}{message.offset()}" for message in chosen],
            [split.source] * len(chosen),
            [_text(message.key()) for message in chosen],
            [_microseconds(message) for message in chosen],
            [_trace_id(message) or split.trace_id for message in chosen],
        ]
        arrays = [pa.array(values, field.type) for values, field in zip(provenance, RECORD_FIELDS, strict=True)]
        table = pa.Table.from_arrays(arrays, schema=pa.schema(RECORD_FIELDS))
        for field, column in zip(content.schema, content.columns, strict=True):
            table = table.append_column(field, column)
        if "headers" not in table.column_names:
            table = table.append_column("headers", pa.array([_headers(message) for message in chosen], _HEADERS))
        return table


def _coordinate(split: Split, offset: int) -> str:
    bounds = split.bounds
    return str(KafkaCoordinate(bounds["cluster"], bounds["topic"], bounds["partition"], offset))


def _reject(split: Split, offset: int, error: RejectRecord) -> Reject:
    return Reject(
        _coordinate(split, offset), split.source, "read", error.reason, str(error), split.attempt, time.time()
    )


def _text(key: bytes | None) -> str | None:
    return None if key is None else key.decode("utf-8", "replace")


def _microseconds(message: Message) -> int | None:
    _kind, milliseconds = message.timestamp()
    return milliseconds * 1000 if milliseconds > 0 else None


def _headers(message: Message) -> list[dict[str, Any]] | None:
    headers = message.headers()
    return None if not headers else [{"key": key, "value": value} for key, value in headers]


def _trace_id(message: Message) -> str | None:
    """The trace of a W3C ``traceparent`` header, ``VERSION-TRACE-SPAN-FLAGS``."""
    for key, value in message.headers() or ():
        if key.lower() == "traceparent" and value is not None:
            pieces = value.decode("ascii", "replace").split("-")
            if len(pieces) >= 4 and len(pieces[1]) == 32 and set(pieces[1]) <= set("0123456789abcdef"):
                return pieces[1]
    return None
