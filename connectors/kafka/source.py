"""The Kafka source: cuts the offsets of every partition into splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from stream_infer import config, crash
from stream_infer.connectors.kafka import ranges
from stream_infer.connectors.kafka.ages import Ages
from stream_infer.connectors.kafka.cluster import Cluster, Link, Partition
from stream_infer.connectors.kafka.partitions import Partitions
from stream_infer.connectors.kafka.places import attributes, places
from stream_infer.connectors.kafka.reader import KafkaReader, expired
from stream_infer.connectors.kafka.restoring import restored
from stream_infer.connectors.kafka.settings import KafkaSettings
from stream_infer.connectors.kafka.watcher import Peek, Watcher
from stream_infer.contracts import Lag, PartitionStatus, PlanBudget, Planned, Position
from stream_infer.errors import Fatal
from stream_infer.intervals import Intervals
from stream_infer.records import KafkaCoordinate
from stream_infer.splits import Loss, Reject, Split

_RECHECK_SECONDS = 0.1  # at least between two looks at records that wait for company


class KafkaSource:
    """Implements `contracts.Source`.

    Positions: ``TOPIC/PARTITION`` holds the next offset, ``first/TOPIC/PARTITION`` the one that was read first,
    ``topic/TOPIC`` the topic's id and incarnation. A topic made again under its name is another topic: in positions
    and coordinates it is ``TOPIC@2``.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        cluster: Cluster,
        watcher: Watcher,
        peek: Peek,
        reader: KafkaReader,
        group: str,
        ages: Ages | None = None,
    ) -> None:
        self.name = settings.name
        self._settings = settings
        self._cluster = cluster
        self._watcher = watcher
        self._peek = peek
        self._reader = reader
        self._group = group
        self._ages = ages
        self._partitions = Partitions(settings, cluster)
        self._nexts: dict[Partition, int] = {}
        self._seen: dict[Partition, float] = {}  # when the oldest unplanned record was first known of
        self._told: dict[str, int] = {}
        self._firsts_known: dict[str, Any] = {}
        self._turn = 0
        self._record_bytes = 0.0

    @classmethod
    def from_config(cls, settings: KafkaSettings, *, pipeline: str, limits: config.Limits) -> KafkaSource:
        """The source of the settings; connects with its first plan.

        Raises:
            ConfigError: an option is unknown or cannot be used.
        """
        group = settings.group or f"stream-infer.{pipeline}"
        links = [Link(settings.name, settings.servers, settings.options) for _ in range(4)]
        links[0].check()
        reader = KafkaReader(settings, pipeline, limits)
        ages = Ages.of(links[3], group)
        return cls(settings, Cluster(links[0]), Watcher(links[1], group), Peek(links[2], group), reader, group, ages)

    def plan(self, position: Position, budget: PlanBudget) -> Iterator[Planned]:
        """See `contracts.Source.plan`. Partitions take turns, so that none starves behind a long one."""
        yield from self._partitions.look(position)
        self._record_bytes = budget.record_bytes
        partitions = sorted(self._partitions.known)
        nexts = self._nexts = {partition: self._partitions.next(position, partition) for partition in partitions}
        for partition in self._seen.keys() - nexts.keys():  # of a topic made again with fewer
            del self._seen[partition]
        for partition in partitions:
            step = self._expired(partition, nexts)
            if step is not None:
                yield step
        self._turn = (self._turn + 1) % len(partitions)
        order = partitions[self._turn :] + partitions[: self._turn]
        left = budget.splits
        while left:
            ready = [partition for partition in order if self._ripe(partition, nexts[partition], budget)]
            if not ready:
                break
            for partition in ready[:left]:
                start = nexts[partition]
                stop = min(self._partitions.ends[partition], start + _most(budget))
                yield self._step(position, partition, start, stop, budget)
                nexts[partition] = stop
                left -= 1
        self._watcher.expect(
            {part: max(nexts[part], self._partitions.ends[part]) for part in partitions}, self._again(budget)
        )

    def wait(self, timeout: float) -> None:
        """See `contracts.Source.wait`: a fetch that the broker answers when something arrives."""
        self._watcher.wait(timeout)

    def wake(self) -> None:
        self._watcher.wake()

    def lag(self, position: Position) -> Lag:
        """See `contracts.Source.lag`."""
        waiting = {
            self._partitions.key(partition): max(0, end - self._nexts[partition])
            for partition, end in self._partitions.ends.items()
            if partition in self._nexts and partition in self._partitions.known
        }
        oldest = min(self._seen.values(), default=None)
        records = sum(waiting.values())
        return Lag(records, int(records * self._record_bytes), oldest, by_key=waiting)

    def places(self, prefix: Mapping[str, int]) -> Sequence[PartitionStatus]:
        """See `contracts.Source.places`."""
        found = self._partitions
        return places(prefix, found.known, found.ends, self._nexts, self._seen, self._ages)

    def attributes(self, split: Split) -> Mapping[str, str | int]:
        """See `contracts.Source.attributes`."""
        return attributes(split, self._group)

    def reader(self) -> KafkaReader:
        return self._reader

    def bisect(self, split: Split) -> tuple[Split, Split] | None:
        """See `contracts.Source.bisect`."""
        return ranges.bisect(split)

    def record_ids(self, split: Split) -> Iterator[str]:
        return ranges.record_ids(split)

    def replay(self, split: Split, reject: Reject, number: int) -> Split:
        """See `contracts.Source.replay`."""
        return ranges.replay(split, reject, number)

    def intervals(self, split: Split) -> Intervals:
        """See `contracts.Source.extent`."""
        return ranges.intervals(split)

    def restore(self, splits: Sequence[Split], most: int) -> Iterator[Planned]:
        """See `contracts.Source.restore`."""
        return restored(splits, most, self._settings, self._cluster, self._group)

    def committed(self, splits: Sequence[Split], prefix: Mapping[str, int]) -> None:
        """Let the consumer group's offsets follow the contiguous committed prefix."""
        latest: dict[Partition, tuple[int, str]] = {}
        for key in prefix:
            known_as, _, number = key.rpartition("/")
            topic, _, incarnation = known_as.partition("@")
            if topic in self._settings.topics and number.isdigit():
                partition = topic, int(number)
                latest[partition] = max(latest.get(partition, (0, "")), (int(incarnation or 1), key))
        keys = {partition: key for partition, (_, key) in latest.items() if self._told.get(key) != prefix[key]}
        if keys:
            with crash.around("kafka.offsets"):
                self._cluster.commit(self._group, {partition: prefix[key] for partition, key in keys.items()})
            self._told.update({key: prefix[key] for key in keys.values()})

    def close(self) -> None:
        self._watcher.close()
        self._peek.close()
        if self._ages is not None:
            self._ages.close()
        self._cluster.close()

    def _expired(self, partition: Partition, nexts: dict[Partition, int]) -> Planned | None:
        start, now = self._partitions.starts.get(partition, 0), nexts[partition]
        if now >= start:
            return None
        if self._settings.on_expired == "stop":
            raise Fatal(expired(self.name, f"{partition[0]}/{partition[1]}", now, start))
        known_as = self._partitions.known[partition]
        first = str(KafkaCoordinate(self._cluster.id, known_as, partition[1], now))
        nexts[partition] = start
        loss = Loss(first, self.name, "expired", start - now)
        return Planned(None, positions={self._partitions.key(partition): start}, losses=(loss,))

    def _ripe(self, partition: Partition, start: int, budget: PlanBudget) -> bool:
        waiting = self._partitions.ends[partition] - start
        if waiting <= 0:
            self._seen.pop(partition, None)
            return False
        # a clock that was put back must not make records wait until it has caught up
        seen = self._seen[partition] = min(self._seen.get(partition, budget.now), budget.now)
        return waiting >= _most(budget) or budget.now - seen >= budget.freshness

    def _again(self, budget: PlanBudget) -> float | None:
        """Seconds after which records that wait for company should be looked at, None where none wait."""
        if not self._seen:
            return None
        due = min(self._seen.values()) + budget.freshness - budget.now
        return max(0.01, min(due, max(_RECHECK_SECONDS, budget.freshness / 10)))

    def _first(self, position: Position, key: str) -> dict[str, int]:
        """Where the partition was begun, for `restore`; nothing where an older release began it."""
        if key not in self._firsts_known:
            self._firsts_known[key] = position.get(f"first/{key}")
        known = self._firsts_known[key]
        return {"first": known["offset"]} if known else {}

    def _step(self, position: Position, partition: Partition, start: int, stop: int, budget: PlanBudget) -> Planned:
        key = self._partitions.key(partition)
        event_at = self._watcher.timestamp(partition, start)
        if event_at is None and budget.date_by == "event":
            event_at = self._peek.timestamp(partition, start)
        by = event_at if budget.date_by == "event" and event_at is not None else budget.now
        bounds: dict[str, Any] = {
            "cluster": self._cluster.id,
            "topic": self._partitions.known[partition],
            "topic_id": self._partitions.topic_id(partition),
            "partition": partition[1],
            "start": start,
            "stop": stop,
            "position_key": key,
            **self._first(position, key),
        }
        split = Split.of(
            self.name,
            bounds,
            folder=f"date={datetime.fromtimestamp(by, UTC):%Y-%m-%d}",
            records=stop - start,
            bytes=int((stop - start) * budget.record_bytes),
            lane=self._settings.lane,
            planned_at=budget.now,
            event_at=event_at if event_at is not None else self._seen.get(partition, budget.now),
        )
        if stop < self._partitions.ends[partition]:
            self._seen[partition] = budget.now
        else:
            self._seen.pop(partition, None)
        return Planned(split, positions={key: stop})


def _most(budget: PlanBudget) -> int:
    """Offsets of a full split."""
    return max(1, min(budget.records, int(budget.bytes / max(1.0, budget.record_bytes))))
