"""Waiting for the next message without asking all the time."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, Message, TopicPartition

from connectors.kafka.cluster import Partition, answered, client_options
from stream_infer import config

_SLICE = 0.25  # seconds: how long `wake` may go unnoticed
_FETCH_SECONDS = 5.0


class Watcher:
    """A consumer that stands at the planned ends; the broker holds its fetch until something arrives there.

    One thread uses it; only `wake` may be called from others.
    """

    def __init__(self, settings: config.KafkaSource, pipeline: str) -> None:
        self._source = settings.name
        self._servers = settings.servers
        self._options = {
            **client_options(settings.servers, settings.options),
            "group.id": f"stream-infer.{pipeline}.watch",
            "enable.auto.commit": False,
            "enable.partition.eof": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 500,
            "queued.max.messages.kbytes": 64,
            "fetch.message.max.bytes": 65536,
        }
        self._consumer: Consumer | None = None
        self._expected: dict[Partition, int] = {}
        self._standing: dict[Partition, int] = {}
        self._first: dict[Partition, tuple[int, float]] = {}
        self._woken = threading.Event()

    def expect(self, nexts: Mapping[Partition, int]) -> None:
        """From now on wait for messages at or behind these offsets."""
        self._expected = dict(nexts)

    def wait(self, timeout: float) -> None:
        """Return when a message arrives, when woken, or after ``timeout`` seconds.

        Raises:
            Retryable: the broker refuses.
        """
        if not self._expected:
            self._woken.wait(timeout)
            self._woken.clear()
            return
        self._stand()
        deadline = time.monotonic() + timeout
        while not self._woken.is_set() and (left := deadline - time.monotonic()) > 0:
            message = self._poll(min(_SLICE, left))
            if message is not None and self._noted(message):
                break
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()

    def timestamp(self, partition: Partition, offset: int) -> float | None:
        """Event time of that offset in seconds, if it is the one that ended a wait."""
        seen = self._first.get(partition)
        return seen[1] if seen is not None and seen[0] == offset else None

    def fetch_timestamp(self, partition: Partition, offset: int) -> float | None:
        """Event time of the first record at or behind an offset; None when the broker has none at hand."""
        with answered(self._source, self._servers):
            self._assign({partition: offset})
            message = self._poll(_FETCH_SECONDS)
        if message is None or message.error() is not None:
            return None
        return _event_time(message)

    def close(self) -> None:
        """Leave the brokers. Safe to call twice."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
            self._standing = {}

    def _stand(self) -> None:
        if self._standing != self._expected:
            self._assign(self._expected)

    def _assign(self, offsets: Mapping[Partition, int]) -> None:
        with answered(self._source, self._servers):
            if self._consumer is None:
                self._consumer = Consumer(self._options)
            self._consumer.assign([TopicPartition(topic, number, at) for (topic, number), at in offsets.items()])
        self._standing = dict(offsets)

    def _poll(self, seconds: float) -> Message | None:
        with answered(self._source, self._servers):
            assert self._consumer is not None
            return self._consumer.poll(seconds)

    def _noted(self, message: Message) -> bool:
        """True when the message is news; an error is none, the next plan meets it with a sentence."""
        if message.error() is not None:
            return False
        partition = (message.topic() or "", message.partition() or 0)
        offset = message.offset() or 0
        self._standing[partition] = offset + 1
        if offset < self._expected.get(partition, 0):
            return False
        event_time = _event_time(message)
        if event_time is not None:
            self._first[partition] = (offset, event_time)
        return True


def _event_time(message: Message) -> float | None:
    kind, milliseconds = message.timestamp()
    return None if kind == TIMESTAMP_NOT_AVAILABLE else milliseconds / 1000
