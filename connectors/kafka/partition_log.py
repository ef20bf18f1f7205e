"""The log that a split of Kafka reads: one partition of one incarnation of a topic."""

from __future__ import annotations

from dataclasses import dataclass

from stream_infer.bounds import LogRange, log_range
from stream_infer.splits import Split


@dataclass(frozen=True, slots=True)
class PartitionLog:
    """A partition, as bounds pin it.

    Attributes:
        topic: as coordinates name it: ``TOPIC``, or ``TOPIC@2`` for one that was made again under its name.
        topic_id: the brokers' own id of this incarnation; None in bounds of the first releases.
        first: offset at which the source began to read, for `restore`; None in bounds of older releases.
    """

    cluster: str
    topic: str
    partition: int
    topic_id: str | None = None
    first: int | None = None

    @classmethod
    def of(cls, bounds: LogRange) -> PartitionLog:
        """The log of a range."""
        pin = bounds.pin
        return cls(pin["cluster"], pin["topic"], pin["partition"], pin.get("topic_id"), pin.get("first"))

    @property
    def topic_name(self) -> str:
        """The topic's name at the broker, without its incarnation."""
        return self.topic.partition("@")[0]

    @property
    def incarnation(self) -> int:
        """1 for a topic that was never made again."""
        return int(self.topic.partition("@")[2] or 1)

    def range(self, start: int, stop: int) -> LogRange:
        """Bounds of offsets ``[start, stop)``."""
        pin = {"cluster": self.cluster, "topic": self.topic, "partition": self.partition}
        optional = {"topic_id": self.topic_id, "first": self.first}
        pin |= {name: value for name, value in optional.items() if value is not None}
        url = f"kafka://{self.cluster}/{self.topic}/{self.partition}"
        return LogRange(url, start, stop, pin, position_key=f"{self.topic}/{self.partition}")


def range_of(split: Split) -> LogRange:
    """The typed bounds of a split of this source."""
    bounds = log_range(split.bounds)
    if bounds is None:
        raise ValueError(f"split {split.split_id} of source {split.source} holds no offsets of a log")
    return bounds
