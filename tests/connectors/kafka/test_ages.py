"""The age of the next waiting record is looked up apart from the data, and only where records wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from stream_infer.connectors.kafka import ages as module
from stream_infer.connectors.kafka.ages import Ages
from stream_infer.connectors.kafka.partition_statuses import partition_statuses

TOPICS = {("t", 0): "t", ("t", 1): "t@2"}


class Message:
    def __init__(self, partition: int, milliseconds: int, error: object = None) -> None:
        self._partition, self._milliseconds, self._error = partition, milliseconds, error

    def topic(self) -> str:
        return "t"

    def partition(self) -> int:
        return self._partition

    def error(self) -> object:
        return self._error

    def timestamp(self) -> tuple[int, int]:
        return 1, self._milliseconds


class Consumer:
    """A consumer whose messages have their offset in seconds as timestamp."""

    def __init__(self) -> None:
        self.assigned: list[dict[int, int]] = []
        self.fails = 0
        self._open: dict[int, int] = {}

    def assign(self, partitions: Any) -> None:
        self.assigned.append({partition.partition: partition.offset for partition in partitions})
        self._open = dict(self.assigned[-1])

    def consume(self, most: int, timeout: float) -> list[Message]:
        if self.fails:
            self.fails -= 1
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        messages = [Message(number, offset * 1000) for number, offset in self._open.items()]
        self._open = {}
        return messages

    def unassign(self) -> None:
        return

    def close(self) -> None:
        return


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Ages, Consumer]]:
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.01)
    consumer = Consumer()
    ages = Ages(lambda: consumer)
    yield ages, consumer
    ages.close()


def test_only_what_waits_is_looked_at_and_once_per_position(looked: tuple[Ages, Consumer]) -> None:
    ages, consumer = looked
    ends, nexts = {("t", 0): 9, ("t", 1): 5}, {("t", 0): 9, ("t", 1): 5}
    seen = {("t", 0): 77.0}
    first = partition_statuses({"t/0": 4, "t@2/1": 5}, TOPICS, ends, nexts, seen, ages)
    assert [(status.topic, status.partition, status.position, status.end) for status in first] == [
        ("t", "0", 4, 9),
        ("t@2", "1", 5, 5),
    ]
    assert [status.oldest for status in first] == [77.0, None]  # until it is looked up
    _until(lambda: ages.at(("t", 0), 4) == 4.0)
    assert ages.at(("t", 0), 6) == 4.0  # on the move: shortly before
    assert ages.at(("t", 0), 3) is None
    ages.want({("t", 0): 6})
    _until(lambda: ages.at(("t", 0), 6) == 6.0)
    ages.want({("t", 0): 6})
    assert consumer.assigned == [{0: 4}, {0: 6}]


def test_a_broker_that_is_away_is_asked_again(looked: tuple[Ages, Consumer]) -> None:
    ages, consumer = looked
    consumer.fails = 2

    def has_answer() -> bool:
        ages.want({("t", 0): 4})
        return ages.at(("t", 0), 4) == 4.0

    _until(has_answer)


def _until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
