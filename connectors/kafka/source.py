"""The Kafka source: cuts the offsets of every partition into splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from stream_infer import config, crash
from stream_infer.connectors.kafka.ages import Ages
from stream_infer.connectors.kafka.cluster import Cluster, Link, Partition
from stream_infer.connectors.kafka.partition_log import PartitionLog
from stream_infer.connectors.kafka.partition_statuses import partition_statuses
from stream_infer.connectors.kafka.partitions import Partitions
from stream_infer.connectors.kafka.reader import KafkaReader, expired
from stream_infer.connectors.kafka.restoring import restored
from stream_infer.connectors.kafka.settings import KafkaSettings
from stream_infer.connectors.kafka.watcher import Peek, Watcher
from stream_infer.contracts import Lag, PlanBudget, Planned, Position, SourceStatus
from stream_infer.errors import Fatal
from stream_infer.splits import Loss, Split

_RECHECK_SECONDS = 0.1  # shortest pause between two plans while records wait for others to share a split


class KafkaSource:
    """Implements `contracts.Source` and `contracts.Restorable`.

    Positions: ``TOPIC/PARTITION`` holds the next offset, ``first/TOPIC/PARTITION`` the first offset of all,
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
        self._next_offsets: dict[Partition, int] = {}
        self._first_seen: dict[Partition, float] = {}  # of the oldest unplanned record: when a plan saw it first
        self._reported_offsets: dict[str, int] = {}
        self._first_offsets: dict[str, Any] = {}
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
        partitions = sorted(self._partitions.topics)
        next_offsets = {partition: self._partitions.next(position, partition) for partition in partitions}
        self._next_offsets = next_offsets
        for partition in self._first_seen.keys() - next_offsets.keys():  # of a topic made again with fewer
            del self._first_seen[partition]
        for partition in partitions:
            loss = self._expired(partition, next_offsets)
            if loss is not None:
                yield loss
        self._turn = (self._turn + 1) % len(partitions)
        order = partitions[self._turn :] + partitions[: self._turn]
        left = budget.splits
        while left:
            ready = [partition for partition in order if self._is_ready(partition, next_offsets[partition], budget)]
            if not ready:
                break
            for partition in ready[:left]:
                start = next_offsets[partition]
                stop = min(self._partitions.ends[partition], start + _most_records(budget))
                yield self._planned(position, partition, start, stop, budget)
                next_offsets[partition] = stop
                left -= 1
        self._watcher.expect(
            {part: max(next_offsets[part], self._partitions.ends[part]) for part in partitions}, self._pause(budget)
        )

    def wait(self, timeout: float) -> None:
        """See `contracts.Source.wait`: a fetch that the broker answers when something arrives."""
        self._watcher.wait(timeout)

    def wake(self) -> None:
        self._watcher.wake()

    def status(self, committed_offsets: Mapping[str, int]) -> SourceStatus:
        """See `contracts.Source.status`."""
        partitions = self._partitions
        statuses = partition_statuses(
            committed_offsets, partitions.topics, partitions.ends, self._next_offsets, self._first_seen, self._ages
        )
        return SourceStatus(self._lag(), statuses, {"messaging.consumer.group.name": self._group})

    def reader(self) -> KafkaReader:
        return self._reader

    def restore(self, splits: Sequence[Split], most: int) -> Iterator[Planned]:
        """See `contracts.Restorable.restore`."""
        return restored(splits, most, self._settings, self._cluster, self._group)

    def committed(self, splits: Sequence[Split], committed_offsets: Mapping[str, int]) -> None:
        """Let the consumer group's offsets follow the committed offsets."""
        newest: dict[Partition, tuple[int, str]] = {}  # incarnation and position key
        for key in committed_offsets:
            topic, _, number = key.rpartition("/")
            name, _, incarnation = topic.partition("@")
            if name in self._settings.topics and number.isdigit():
                partition = name, int(number)
                newest[partition] = max(newest.get(partition, (0, "")), (int(incarnation or 1), key))
        offsets = {key: committed_offsets[key] for _, key in newest.values()}
        changed = {part: key for part, (_, key) in newest.items() if self._reported_offsets.get(key) != offsets[key]}
        if changed:
            with crash.around("kafka.offsets"):
                self._cluster.commit(self._group, {partition: offsets[key] for partition, key in changed.items()})
            self._reported_offsets.update({key: offsets[key] for key in changed.values()})

    def close(self) -> None:
        self._watcher.close()
        self._peek.close()
        if self._ages is not None:
            self._ages.close()
        self._cluster.close()

    def _lag(self) -> Lag:
        unplanned = {
            self._partitions.key(partition): max(0, end - self._next_offsets[partition])
            for partition, end in self._partitions.ends.items()
            if partition in self._next_offsets and partition in self._partitions.topics
        }
        oldest = min(self._first_seen.values(), default=None)
        records = sum(unplanned.values())
        return Lag(records, int(records * self._record_bytes), oldest, by_key=unplanned)

    def _expired(self, partition: Partition, next_offsets: dict[Partition, int]) -> Planned | None:
        start, position = self._partitions.starts.get(partition, 0), next_offsets[partition]
        if position >= start:
            return None
        if self._settings.on_expired == "stop":
            raise Fatal(expired(self.name, f"{partition[0]}/{partition[1]}", position, start))
        bounds = PartitionLog(self._cluster.id, self._partitions.topics[partition], partition[1]).range(position, start)
        next_offsets[partition] = start
        loss = Loss(bounds.record_id(position), self.name, "expired", start - position)
        return Planned(None, positions={bounds.position_key: start}, losses=(loss,))

    def _is_ready(self, partition: Partition, start: int, budget: PlanBudget) -> bool:
        """Whether the records from ``start`` on fill a split, or have waited long enough for others to share one."""
        records = self._partitions.ends[partition] - start
        if records <= 0:
            self._first_seen.pop(partition, None)
            return False
        # a clock that was put back must not make records wait until it has caught up
        first_seen = self._first_seen[partition] = min(self._first_seen.get(partition, budget.now), budget.now)
        return records >= _most_records(budget) or budget.now - first_seen >= budget.freshness

    def _pause(self, budget: PlanBudget) -> float | None:
        """Seconds until records that wait to share a split are due; None where there are none."""
        if not self._first_seen:
            return None
        due = min(self._first_seen.values()) + budget.freshness - budget.now
        return max(0.01, min(due, max(_RECHECK_SECONDS, budget.freshness / 10)))

    def _first_offset(self, position: Position, key: str) -> int | None:
        """The partition's first offset of all, for `restore`; None where an older release began it."""
        if key not in self._first_offsets:
            self._first_offsets[key] = position.get(f"first/{key}")
        stored = self._first_offsets[key]
        return int(stored["offset"]) if stored else None

    def _planned(self, position: Position, partition: Partition, start: int, stop: int, budget: PlanBudget) -> Planned:
        key = self._partitions.key(partition)
        event_at = self._watcher.timestamp(partition, start)
        if event_at is None and budget.date_by == "event":
            event_at = self._peek.timestamp(partition, start)
        dated_at = event_at if budget.date_by == "event" and event_at is not None else budget.now
        log = PartitionLog(
            self._cluster.id,
            self._partitions.topics[partition],
            partition[1],
            self._partitions.topic_id(partition),
            self._first_offset(position, key),
        )
        split = Split.of(
            self.name,
            log.range(start, stop),
            folder=f"date={datetime.fromtimestamp(dated_at, UTC):%Y-%m-%d}",
            records=stop - start,
            bytes=int((stop - start) * budget.record_bytes),
            lane=self._settings.lane,
            planned_at=budget.now,
            event_at=event_at if event_at is not None else self._first_seen.get(partition, budget.now),
        )
        if stop < self._partitions.ends[partition]:
            self._first_seen[partition] = budget.now
        else:
            self._first_seen.pop(partition, None)
        return Planned(split, positions={key: stop})


def _most_records(budget: PlanBudget) -> int:
    """Offsets of a full split."""
    return max(1, min(budget.records, int(budget.bytes / max(1.0, budget.record_bytes))))
