"""Which partitions there are, under which names, and which offsets they hold."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from stream_infer.connectors.kafka.cluster import Cluster, Partition, Topic
from stream_infer.connectors.kafka.settings import KafkaSettings
from stream_infer.contracts import Planned, Position
from stream_infer.errors import Fatal, Retryable

_LOOK_SECONDS = 10.0  # how long it may go unnoticed that offsets expired


class Partitions:
    """All partitions of the source's topics, as of the last look.

    Attributes:
        known: partition -> topic as coordinates name it.
        starts / ends: the first offset that the broker still has, and the one after the last.
    """

    def __init__(self, settings: KafkaSettings, cluster: Cluster) -> None:
        self.known: dict[Partition, str] = {}
        self.starts: dict[Partition, int] = {}
        self.ends: dict[Partition, int] = {}
        self._settings = settings
        self._cluster = cluster
        self._topics: dict[str, Topic] = {}
        self._looked_at = float("-inf")

    def key(self, partition: Partition) -> str:
        """The position key."""
        return f"{self.known[partition]}/{partition[1]}"

    def topic_id(self, partition: Partition) -> str:
        return self._topics[partition[0]].topic_id

    def next(self, position: Position, partition: Partition) -> int:
        """The offset to go on from."""
        stored = position.get(self.key(partition))
        return int(stored) if stored is not None else self.starts.get(partition, 0)

    def look(self, position: Position) -> Iterator[Planned]:
        """The ends, of the topics that are known: a topic made again is met as such before its offsets are used."""
        if time.monotonic() - self._looked_at >= _LOOK_SECONDS:
            yield from self._discover(position, self._described())
        looked_at, self._looked_at = self._looked_at, float("-inf")  # should this fail, the next try looks first
        self.ends = self._cluster.ends(sorted(self.known))
        self._looked_at = looked_at
        # asked after the ends: an id that is gone never comes back, so these ends are those of the topics known
        while (found := self._described()) != self._topics:
            yield from self._discover(position, found)
            self.ends = self._cluster.ends(sorted(self.known))
        if self._settings.on_expired == "stop":
            # what a reader finds gone is in flight already; this source wants to stop before
            self.starts = self._cluster.starts(sorted(self.known))

    def _described(self) -> dict[str, Topic]:
        found = self._cluster.topics(self._settings.topics)
        missing = [name for name in self._settings.topics if name not in found]
        if missing:
            raise Retryable(
                f"topic {missing[0]!r} does not exist at {self._settings.servers} yet; create it", dependency="kafka"
            )
        return found

    def _discover(self, position: Position, found: dict[str, Topic]) -> Iterator[Planned]:
        """Is each topic still the same one, are there new partitions, what has expired?"""
        for topic in found.values():
            yield from self._identify(topic, position)
        self.starts = self._cluster.starts(sorted(self.known))
        yield from self._begin(position)
        self._topics = found
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
        known_as = topic.name if incarnation == 1 else f"{topic.name}@{incarnation}"
        for partition in [part for part in self.known if part[0] == topic.name and part[1] not in topic.partitions]:
            del self.known[partition]  # made again with fewer
        for number in topic.partitions:
            self.known[topic.name, number] = known_as

    def _begin(self, position: Position) -> Iterator[Planned]:
        """Where partitions without a position start; stored, so that ``latest`` means the first look, not each."""
        fresh = [part for part, topic in self.known.items() if position.get(f"{topic}/{part[1]}") is None]
        # a partition that joins a topic already read holds only what came since: it is read whole
        first = [part for part in fresh if not self._started(position, part)]
        if self._settings.start == "earliest" or not first:
            offsets: dict[Partition, int] = {}
        elif self._settings.start == "latest":
            offsets = self._cluster.ends(first)
        else:
            moment = datetime.fromisoformat(self._settings.start)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            offsets = self._cluster.at_time(first, moment.timestamp())
        positions = {self.key(part): offsets.get(part, self.starts[part]) for part in fresh}
        firsts = {f"first/{key}": {"offset": offset} for key, offset in positions.items()}
        if positions:
            yield Planned(None, positions=positions | firsts)

    def _started(self, position: Position, partition: Partition) -> bool:
        siblings = (other for other in self.known if other[0] == partition[0] and other != partition)
        known_as = self.known[partition]
        return "@" in known_as or any(position.get(f"{known_as}/{number}") is not None for _, number in siblings)
