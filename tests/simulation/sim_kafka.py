"""The Kafka cluster of a simulation and its clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, TopicPartition

from stream_infer.connectors.kafka.cluster import Partition, Topic
from stream_infer.errors import Retryable
from tests.simulation.sim_threads import Condition
from tests.simulation.sim_world import START, Weather, World

CLUSTER = "C"
GAP = object()  # an offset that holds no record: a transaction marker, or compacted away


@dataclass
class Log:
    """A partition: values by offset, those below ``start`` expired."""

    values: list[Any] = field(default_factory=list)
    start: int = 0


@dataclass
class SimTopic:
    name: str
    topic_id: str
    incarnation: int
    logs: list[Log]

    @property
    def incarnation_name(self) -> str:
        return self.name if self.incarnation == 1 else f"{self.name}@{self.incarnation}"


class Broker:
    """The cluster. ``history`` holds every incarnation of every topic."""

    def __init__(self, world: World, weather: Weather) -> None:
        self.world, self.weather = world, weather
        self.topics: dict[str, SimTopic] = {}
        self.history: list[SimTopic] = []
        self.down_until = 0.0
        self.appended = Condition(world)

    def create(self, name: str, partitions: int) -> SimTopic:
        number = 1 + sum(topic.name == name for topic in self.history)
        topic = SimTopic(name, f"id-{name}-{number}", number, [Log() for _ in range(partitions)])
        self.topics[name] = topic
        self.history.append(topic)
        return topic

    def append(self, name: str, partition: int, values: Sequence[Any]) -> int:
        """Append values and return the offset of the first."""
        log = self.topics[name].logs[partition]
        log.values += values
        self.appended.notify_all()
        return len(log.values) - len(values)

    def grow(self, name: str) -> None:
        self.topics[name].logs.append(Log())

    @property
    def away(self) -> bool:
        return self.world.now < self.down_until

    def log(self, topic: str, partition: int) -> Log | None:
        entry = self.topics.get(topic)
        return entry.logs[partition] if entry is not None and partition < len(entry.logs) else None


class SimCluster:
    """`stream_infer.connectors.kafka.cluster.Cluster`."""

    id = CLUSTER

    def __init__(self, broker: Broker, committed: Callable[[Mapping[Partition, int]], None]) -> None:
        self._broker, self._committed = broker, committed

    def topics(self, names: Sequence[str]) -> dict[str, Topic]:
        self._ask()
        topics = {name: self._broker.topics[name] for name in names if name in self._broker.topics}
        return {name: Topic(name, topic.topic_id, tuple(range(len(topic.logs)))) for name, topic in topics.items()}

    def starts(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        return self._offsets(partitions, lambda log: log.start)

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        return self._offsets(partitions, lambda log: len(log.values))

    def commit(self, _group: str, offsets: Mapping[Partition, int]) -> None:
        self._ask()
        self._committed(offsets)
        if self._broker.world.rng.random() < self._broker.weather.kafka_error:
            raise Retryable("Kafka did not answer: the reply was lost")

    def close(self) -> None:
        return

    def _offsets(self, partitions: Sequence[Partition], which: Callable[[Log], int]) -> dict[Partition, int]:
        if not partitions:
            return {}
        self._ask()
        logs = {partition: self._broker.log(*partition) for partition in partitions}
        if None in logs.values():
            raise Retryable("Kafka did not answer: unknown partition")
        return {partition: which(log) for partition, log in logs.items() if log is not None}

    def _ask(self) -> None:
        self._broker.world.pause(1.0, 0.02)
        if self._broker.away or self._broker.world.rng.random() < self._broker.weather.kafka_error:
            raise Retryable("Kafka did not answer")


class SimError:
    def __init__(self, code: int) -> None:
        self._code = code

    def code(self) -> int:
        return self._code

    def str(self) -> Any:
        return f"error {self._code}"

    __str__ = str


class Message:
    """`confluent_kafka.Message`."""

    def __init__(self, partition: Partition, offset: int, value: bytes | None, error: SimError | None = None) -> None:
        self._partition, self._offset, self._value, self._error = partition, offset, value, error

    def __len__(self) -> int:
        return len(self._value or b"")

    def topic(self) -> str:
        return self._partition[0]

    def partition(self) -> int:
        return self._partition[1]

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes | None:
        return self._value

    def key(self) -> None:
        return None

    def headers(self) -> None:
        return None

    def error(self) -> SimError | None:
        return self._error

    def timestamp(self) -> tuple[int, int]:
        return 1, int((START + self._offset) * 1000)


class SimConsumer:
    """A `confluent_kafka.Consumer` that is assigned by hand. It addresses topics by name only, as the real one does."""

    def __init__(self, broker: Broker, options: Mapping[str, Any]) -> None:
        self._broker = broker
        self._reports_end = bool(options.get("enable.partition.eof"))
        self._at: dict[Partition, int] = {}
        self._reported_ends: set[tuple[Partition, int]] = set()

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        self._at = {(partition.topic, partition.partition): partition.offset for partition in partitions}
        self._reported_ends = set()

    def unassign(self) -> None:
        self._at = {}

    def close(self) -> None:
        self._at = {}

    def consume(self, most: int, timeout: float) -> list[Message]:
        rng = self._broker.world.rng
        first = self.poll(timeout)
        messages = [] if first is None else [first]
        while messages and len(messages) < min(most, 1 + rng.randrange(8)) and (message := self._next()) is not None:
            messages.append(message)
        return messages

    def poll(self, timeout: float) -> Message | None:
        world = self._broker.world
        end = world.now + timeout
        world.pause(1.0, 0.005)
        while (message := self._next()) is None and world.now < end:
            self._broker.appended.wait(end - world.now)
        return message

    def get_watermark_offsets(self, partition: TopicPartition, **_: object) -> tuple[int, int] | None:
        self._broker.world.pause(1.0, 0.02)
        log = None if self._broker.away else self._broker.log(partition.topic, partition.partition)
        return None if log is None else (log.start, len(log.values))

    def _next(self) -> Message | None:
        if self._broker.away:
            return None
        for partition, at in self._at.items():
            log = self._broker.log(*partition)
            if log is None:
                return Message(partition, -1, None, SimError(KafkaError.UNKNOWN_TOPIC_OR_PART))
            if not log.start <= at <= len(log.values):
                return Message(partition, -1, None, SimError(KafkaError._AUTO_OFFSET_RESET))
            while at < len(log.values) and log.values[at] is GAP:
                at += 1
            self._at[partition] = at
            if at < len(log.values):
                self._at[partition] = at + 1
                return Message(partition, at, log.values[at])
            if self._reports_end and (partition, at) not in self._reported_ends:
                self._reported_ends.add((partition, at))
                return Message(partition, at, None, SimError(KafkaError._PARTITION_EOF))
        return None


def consumers(broker: Broker) -> Callable[[Mapping[str, Any]], SimConsumer]:
    """In place of the class `Consumer`."""
    return lambda options: SimConsumer(broker, options)
