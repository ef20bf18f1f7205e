"""The event time of the next record of each partition, looked up every few seconds beside the reading."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaException

from stream_infer.connectors.kafka.cluster import Link, Partition
from stream_infer.connectors.kafka.watcher import assignment, event_time, small_consumer
from stream_infer.errors import StreamInferError

_PAUSE_SECONDS = 3.0  # between two looks: each fetches a batch of every partition that lags
_LOOK_SECONDS = 2.0
_TOGETHER = 500


class Ages:
    """Event times by partition and offset. A daemon thread looks; the methods never wait and never raise.

    Args:
        connect: makes the consumer, at the first look.
    """

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._wanted: Mapping[Partition, int] = {}
        self._ages: dict[Partition, tuple[int, float]] = {}
        self._asked = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def of(cls, link: Link, group: str) -> Ages:
        """Over a consumer of its own."""
        return cls(lambda: small_consumer(link, f"{group}.ages", fetch_wait_max_ms=100, enable_partition_eof=True))

    def want(self, offsets: Mapping[Partition, int]) -> None:
        """Look up these offsets from now on, and no others."""
        self._wanted = dict(offsets)
        if not offsets:
            return
        self._asked.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="kafka-ages", daemon=True)
            self._thread.start()

    def at(self, partition: Partition, offset: int) -> float | None:
        """Event time of the record at the offset; of one shortly before it while it is on the move."""
        age = self._ages.get(partition)
        return age[1] if age is not None and age[0] <= offset else None

    def close(self) -> None:
        """End the thread. Safe to call twice."""
        self._closed.set()
        self._asked.set()

    def _run(self) -> None:
        consumer = None
        while not self._closed.is_set():
            self._asked.wait()
            self._asked.clear()
            try:
                consumer = consumer or self._connect()
                self._look(consumer)
            except (KafkaException, StreamInferError):
                pass  # a gauge stays as it was; planner and readers meet the same failure and report it
            self._closed.wait(_PAUSE_SECONDS)
        if consumer is not None:
            consumer.close()

    def _look(self, consumer: Any) -> None:
        pending = {part: at for part, at in self._wanted.items() if self._ages.get(part, (-1, 0.0))[0] != at}
        if not pending:
            return
        consumer.assign(assignment(pending))
        deadline = time.monotonic() + _LOOK_SECONDS
        while pending and (left := deadline - time.monotonic()) > 0 and not self._closed.is_set():
            for message in consumer.consume(_TOGETHER, min(0.5, left)):
                wanted = pending.pop((message.topic(), message.partition()), None)
                moment = event_time(message) if message.error() is None else None
                if wanted is not None and moment is not None:
                    self._ages[message.topic(), message.partition()] = (wanted, moment)
        consumer.unassign()
