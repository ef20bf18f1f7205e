"""The partitions of a source's topics: their names in coordinates, and the offsets that they hold."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from stream_infer.connectors.kafka.cluster import Cluster, Partition, Topic
from stream_infer.connectors.kafka.settings import KafkaSettings
from stream_infer.contracts import Planned, Position
from stream_infer.errors import Fatal, Retryable

_LOOK_SECONDS = 10.0  # longest time in which expired offsets go unnoticed


class Partitions:
    """All partitions of the source's topics, as of the last look.

    Attributes:
        topics: partition -> topic as coordinates name it.
        starts / ends: the first offset that the broker still has, and the one after the last.
    """

    def __init__(self, settings: KafkaSettings, cluster: Cluster) -> None:
        self.topics: dict[Partition, str] = {}
        self.starts: dict[Partition, int] = {}
        self.ends: dict[Partition, int] = {}
        self._settings = settings
        self._cluster = cluster
        self._described: dict[str, Topic] = {}
        self._looked_at = float("-inf")

    def key(self, partition: Partition) -> str:
        """The position key."""
        return f"{self.topics[partition]}/{partition[1]}"

    def topic_id(self, partition: Partition) -> str:
        return self._described[partition[0]].topic_id

    def next(self, position: Position, partition: Partition) -> int:
        """The offset to go on from."""
        stored = position.get(self.key(partition))
        return int(stored) if stored is not None else self.starts.get(partition, 0)

    def look(self, position: Position) -> Iterator[Planned]:
        """Bring the ends up to date. A topic that was made again is noticed before its offsets are used."""
        if time.monotonic() - self._looked_at >= _LOOK_SECONDS:
            yield from self._discover(position, self._describe())
        looked_at, self._looked_at = self._looked_at, float("-inf")  # should this fail, the next try looks first
        self.ends = self._cluster.ends(sorted(self.topics))
        self._looked_at = looked_at
        # asked after the ends: a deleted id never comes back, so these ends are of the topics described before
        while (described := self._describe()) != self._described:
            yield from self._discover(position, described)
            self.ends = self._cluster.ends(sorted(self.topics))
        if self._settings.on_expired == "stop":
            # expired records that a reader notices are in flight already; this source is to stop before
            self.starts = self._cluster.starts(sorted(self.topics))

    def _describe(self) -> dict[str, Topic]:
        topics = self._cluster.topics(self._settings.topics)
        missing = [name for name in self._settings.topics if name not in topics]
        if missing:
            raise Retryable(
                f"topic {missing[0]!r} does not exist at {self._settings.servers} yet; create it", dependency="kafka"
            )
        return topics

    def _discover(self, position: Position, described: dict[str, Topic]) -> Iterator[Planned]:
        """Check the topics' ids, and look for new partitions and expired offsets."""
        for topic in described.values():
            yield from self._identify(topic, position)
        self.starts = self._cluster.starts(sorted(self.topics))
        yield from self._begin(position)
        self._described = described
        self._looked_at = time.monotonic()

    def _identify(self, topic: Topic, position: Position) -> Iterator[Planned]:
        stored = position.get(f"topic/{topic.name}")
        incarnation = stored["incarnation"] if stored else 1
        if stored and stored["id"] != topic.topic_id:
            if self._settings.on_recreated == "stop":
                raise Fatal(
                    f"topic {topic.name!r} was deleted and made again, so its offsets mean other records now; "
                    f"write on_recreated: adopt for source {self._settings.name} to read the new topic as {topic.name}@"
                    f"{incarnation + 1}"
                )
            incarnation += 1
        if not stored or stored["id"] != topic.topic_id:
            yield Planned(None, positions={f"topic/{topic.name}": {"id": topic.topic_id, "incarnation": incarnation}})
        for partition in [part for part in self.topics if part[0] == topic.name and part[1] not in topic.partitions]:
            del self.topics[partition]  # made again with fewer
        coordinate_name = topic.name if incarnation == 1 else f"{topic.name}@{incarnation}"
        self.topics |= {(topic.name, number): coordinate_name for number in topic.partitions}

    def _begin(self, position: Position) -> Iterator[Planned]:
        """Yield the first positions of new partitions; stored, so that ``latest`` means the first look, not each."""
        new = [part for part, topic in self.topics.items() if position.get(f"{topic}/{part[1]}") is None]
        # a partition that joins a topic already read holds only newer records: it is read whole
        of_new_topics = [part for part in new if not self._started(position, part)]
        if self._settings.start == "earliest" or not of_new_topics:
            offsets: dict[Partition, int] = {}
        elif self._settings.start == "latest":
            offsets = self._cluster.ends(of_new_topics)
        else:
            moment = datetime.fromisoformat(self._settings.start)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            offsets = self._cluster.at_time(of_new_topics, moment.timestamp())
        positions = {self.key(part): offsets.get(part, self.starts[part]) for part in new}
        first_offsets = {f"first/{key}": {"offset": offset} for key, offset in positions.items()}
        if positions:
            yield Planned(None, positions=positions | first_offsets)

    def _started(self, position: Position, partition: Partition) -> bool:
        """Whether the source already reads other partitions of the topic."""
        siblings = (other for other in self.topics if other[0] == partition[0] and other != partition)
        topic = self.topics[partition]
        return "@" in topic or any(position.get(f"{topic}/{number}") is not None for _, number in siblings)
