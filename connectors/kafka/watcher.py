"""Waiting for the next message without polling the brokers, and a look at a single message."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, Message, TopicPartition

from stream_infer.connectors.kafka.cluster import Link, Partition

_SLICE = 0.1  # seconds: how long `wake` may go unnoticed
_DRAIN = 1000  # messages: up to so many it is cheaper to read on than to fetch elsewhere
_PEEK_SECONDS = 5.0


class Watcher:
    """A consumer at the ends of the partitions; the broker answers its fetch when something arrives there.

    One thread uses it; only `wake` may be called from others.
    """

    def __init__(self, link: Link, group: str) -> None:
        self._link = link
        self._group = f"{group}.watch"
        self._consumer: Consumer | None = None
        self._expected: dict[Partition, int] = {}
        self._read_offsets: dict[Partition, int] = {}
        self._again: float | None = None
        self._first: dict[Partition, tuple[int, float]] = {}
        self._woken = threading.Event()

    def expect(self, ends: Mapping[Partition, int], again: float | None) -> None:
        """From now on wait for messages at or behind these offsets.

        Args:
            again: seconds to wait instead, when what is there already will be due by then.
        """
        self._expected = dict(ends)
        self._again = again

    def wait(self, timeout: float) -> None:
        """Return when a message arrives, when woken, or after ``timeout`` seconds.

        Raises:
            Retryable: the broker refuses.
        """
        if self._again is not None or not self._expected:
            self._woken.wait(timeout if self._again is None else min(timeout, self._again))
        else:
            self._watch(timeout)
        self._woken.clear()

    def wake(self) -> None:
        """End a running wait, or the next one."""
        self._woken.set()

    def timestamp(self, partition: Partition, offset: int) -> float | None:
        """Event time of that offset in seconds, if it is the one that ended a wait."""
        seen = self._first.get(partition)
        return seen[1] if seen is not None and seen[0] == offset else None

    def close(self) -> None:
        """Leave the brokers. Safe to call twice."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
            self._read_offsets = {}

    def _watch(self, timeout: float) -> None:
        with self._link.answered():
            consumer = self._stand()
            deadline = time.monotonic() + timeout
            while not self._woken.is_set() and (left := deadline - time.monotonic()) > 0:
                message = consumer.poll(min(_SLICE, left))
                if message is not None and self._is_new(message):
                    return

    def _stand(self) -> Consumer:
        if self._consumer is None:
            self._consumer = small_consumer(self._link, self._group, fetch_wait_max_ms=500)
        near = self._read_offsets.keys() == self._expected.keys() and all(
            0 <= at - self._read_offsets[partition] <= _DRAIN for partition, at in self._expected.items()
        )
        if not near:
            self._consumer.assign(assignment(self._expected))
            self._read_offsets = dict(self._expected)
        return self._consumer

    def _is_new(self, message: Message) -> bool:
        """True when the message is new; an error is not, and the next plan reports it."""
        if message.error() is not None:
            return False
        partition = (message.topic() or "", message.partition() or 0)
        offset = message.offset() or 0
        self._read_offsets[partition] = offset + 1
        if offset < self._expected.get(partition, 0):
            return False
        moment = event_time(message)
        if moment is not None:
            self._first[partition] = (offset, moment)
        return True


class Peek:
    """Looks up event times of single records."""

    def __init__(self, link: Link, group: str) -> None:
        self._link = link
        self._group = f"{group}.peek"
        self._consumer: Consumer | None = None

    def timestamp(self, partition: Partition, offset: int) -> float | None:
        """Event time, in seconds, of the first record at or behind an offset; None when the broker has none at hand."""
        with self._link.answered():
            if self._consumer is None:
                self._consumer = small_consumer(
                    self._link, self._group, fetch_wait_max_ms=10, enable_partition_eof=True
                )
            self._consumer.assign([TopicPartition(*partition, offset)])
            message = self._consumer.poll(_PEEK_SECONDS)
            self._consumer.unassign()
        return None if message is None or message.error() is not None else event_time(message)

    def close(self) -> None:
        """Leave the brokers. Safe to call twice."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None


def assignment(offsets: Mapping[Partition, int]) -> list[TopicPartition]:
    """The argument of `Consumer.assign` for these offsets."""
    return [TopicPartition(*partition, at) for partition, at in offsets.items()]


def small_consumer(link: Link, group: str, **more: Any) -> Consumer:
    """A consumer that fetches little at a time and belongs to no group."""
    small = {"queued.max.messages.kbytes": 64, "fetch.message.max.bytes": 65536, "fetch.min.bytes": 1}
    fixed = {"group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    return Consumer({**link.settings(**more), **small, **fixed, "isolation.level": "read_committed"})


def event_time(message: Message) -> float | None:
    """Seconds since the epoch."""
    kind, milliseconds = message.timestamp()
    return None if kind == TIMESTAMP_NOT_AVAILABLE else milliseconds / 1000
