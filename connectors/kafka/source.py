"""The Kafka source: cuts the offsets of every partition into splits."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from connectors.kafka import ranges
from connectors.kafka.ages import Ages
from connectors.kafka.cluster import Cluster, Link, Partition, Topic
from connectors.kafka.places import attributes, places
from connectors.kafka.reader import KafkaReader, expired
from connectors.kafka.rejects import RejectTopic
from connectors.kafka.restoring import restored
from connectors.kafka.watcher import Peek, Watcher
from stream_infer import config, crash
from stream_infer.contracts import Lag, Place, PlanBudget, Planned, Position
from stream_infer.errors import Fatal, Retryable
from stream_infer.records import KafkaCoordinate
from stream_infer.spans import Extent
from stream_infer.splits import Loss, Reject, Split

log = logging.getLogger(__name__)
_LOOK_SECONDS = 10.0  # how long it may go unnoticed that offsets expired
_RECHECK_SECONDS = 0.1  # at least between two looks at records that wait for company


class KafkaSource:
    """Implements `contracts.Source`.

    Positions: ``TOPIC/PARTITION`` holds the next offset, ``first/TOPIC/PARTITION`` the one that was read first,
    ``topic/TOPIC`` the topic's id and incarnation. A topic made again under its name is another topic: in positions
    and coordinates it is ``TOPIC@2``.
    """

    def __init__(
        self,
        settings: config.KafkaSource,
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
        self._topics: dict[str, Topic] = {}
        self._known: dict[Partition, str] = {}  # partition -> topic as coordinates name it
        self._looked_at = float("-inf")
        self._starts: dict[Partition, int] = {}
        self._ends: dict[Partition, int] = {}
        self._nexts: dict[Partition, int] = {}
        self._seen: dict[Partition, float] = {}  # when the oldest unplanned record was first known of
        self._told: dict[str, int] = {}
        self._firsts_known: dict[str, Any] = {}
        self._turn = 0
        self._record_bytes = 0.0

    @classmethod
    def from_config(cls, settings: config.KafkaSource, *, pipeline: str, limits: config.Limits) -> KafkaSource:
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

    @classmethod
    def rejects(cls, settings: config.Rejects, sources: Sequence[config.KafkaSource]) -> RejectTopic:
        """The topic that rejects of any source are published to. Raises ConfigError."""
        return RejectTopic.from_config(settings, sources)

    def plan(self, position: Position, budget: PlanBudget) -> Iterator[Planned]:
        """See `contracts.Source.plan`. Partitions take turns, so that none starves behind a long one."""
        yield from self._look(position)
        self._record_bytes = budget.record_bytes
        partitions = sorted(self._known)
        nexts = self._nexts = {partition: self._next(position, partition) for partition in partitions}
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
                stop = min(self._ends[partition], start + _most(budget))
                yield self._step(position, partition, start, stop, budget)
                nexts[partition] = stop
                left -= 1
        self._watcher.expect({part: max(nexts[part], self._ends[part]) for part in partitions}, self._again(budget))

    def wait(self, timeout: float) -> None:
        """See `contracts.Source.wait`: a fetch that the broker answers when something arrives."""
        self._watcher.wait(timeout)

    def wake(self) -> None:
        self._watcher.wake()

    def lag(self, position: Position) -> Lag:
        """See `contracts.Source.lag`."""
        waiting = {
            f"{self._known[partition]}/{partition[1]}": max(0, end - self._nexts[partition])
            for partition, end in self._ends.items()
            if partition in self._nexts and partition in self._known
        }
        oldest = min(self._seen.values(), default=None)
        records = sum(waiting.values())
        return Lag(records, int(records * self._record_bytes), oldest, by_key=waiting)

    def places(self, prefix: Mapping[str, int]) -> Sequence[Place]:
        """See `contracts.Source.places`."""
        return places(prefix, self._known, self._ends, self._nexts, self._seen, self._ages)

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

    def extent(self, split: Split) -> Extent:
        """See `contracts.Source.extent`."""
        return ranges.extent(split)

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

    def _next(self, position: Position, partition: Partition) -> int:
        stored = position.get(f"{self._known[partition]}/{partition[1]}")
        return int(stored) if stored is not None else self._starts.get(partition, 0)

    def _look(self, position: Position) -> Iterator[Planned]:
        """The ends, of the topics that are known: a topic made again is met as such before its offsets are used."""
        if time.monotonic() - self._looked_at >= _LOOK_SECONDS:
            yield from self._discover(position, self._described())
        looked_at, self._looked_at = self._looked_at, float("-inf")  # should this fail, the next try looks first
        self._ends = self._cluster.ends(sorted(self._known))
        self._looked_at = looked_at
        # asked after the ends: an id that is gone never comes back, so these ends are those of the topics known
        while (found := self._described()) != self._topics:
            yield from self._discover(position, found)
            self._ends = self._cluster.ends(sorted(self._known))
        if self._settings.on_expired == "stop":
            # what a reader finds gone is in flight already; this source wants to stop before
            self._starts = self._cluster.starts(sorted(self._known))

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
        self._starts = self._cluster.starts(sorted(self._known))
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
                    f"write on_recreated: adopt for source {self.name} to read the new topic as {topic.name}@"
                    f"{incarnation + 1}"
                )
            incarnation += 1
        if not stored or stored["id"] != topic.topic_id:
            yield Planned(None, positions={f"topic/{topic.name}": {"id": topic.topic_id, "incarnation": incarnation}})
        known_as = topic.name if incarnation == 1 else f"{topic.name}@{incarnation}"
        for partition in [part for part in self._known if part[0] == topic.name and part[1] not in topic.partitions]:
            del self._known[partition]  # made again with fewer
            self._seen.pop(partition, None)
        for number in topic.partitions:
            self._known[topic.name, number] = known_as

    def _begin(self, position: Position) -> Iterator[Planned]:
        """Where partitions without a position start; stored, so that ``latest`` means the first look, not each."""
        fresh = [part for part, topic in self._known.items() if position.get(f"{topic}/{part[1]}") is None]
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
        positions = {f"{self._known[part]}/{part[1]}": offsets.get(part, self._starts[part]) for part in fresh}
        firsts = {f"first/{key}": {"offset": offset} for key, offset in positions.items()}
        if positions:
            yield Planned(None, positions=positions | firsts)

    def _started(self, position: Position, partition: Partition) -> bool:
        siblings = (other for other in self._known if other[0] == partition[0] and other != partition)
        known_as = self._known[partition]
        return "@" in known_as or any(position.get(f"{known_as}/{number}") is not None for _, number in siblings)

    def _expired(self, partition: Partition, nexts: dict[Partition, int]) -> Planned | None:
        start, now = self._starts.get(partition, 0), nexts[partition]
        if now >= start:
            return None
        if self._settings.on_expired == "stop":
            raise Fatal(expired(self.name, f"{partition[0]}/{partition[1]}", now, start))
        known_as = self._known[partition]
        first = str(KafkaCoordinate(self._cluster.id, known_as, partition[1], now))
        nexts[partition] = start
        log.warning(
            "source %s: %s/%d: offsets %d to %d expired before they were read and are lost",
            *(self.name, known_as, partition[1], now, start - 1),
        )
        loss = Loss(first, self.name, "expired", start - now)
        return Planned(None, positions={f"{known_as}/{partition[1]}": start}, losses=(loss,))

    def _ripe(self, partition: Partition, start: int, budget: PlanBudget) -> bool:
        waiting = self._ends[partition] - start
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
        number = partition[1]
        known_as = self._known[partition]
        key = f"{known_as}/{number}"
        event_at = self._watcher.timestamp(partition, start)
        if event_at is None and budget.date_by == "event":
            event_at = self._peek.timestamp(partition, start)
        by = event_at if budget.date_by == "event" and event_at is not None else budget.now
        bounds: dict[str, Any] = {
            "cluster": self._cluster.id,
            "topic": known_as,
            "topic_id": self._topics[partition[0]].topic_id,
            "partition": number,
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
        if stop < self._ends[partition]:
            self._seen[partition] = budget.now
        else:
            self._seen.pop(partition, None)
        return Planned(split, positions={key: stop})


def _most(budget: PlanBudget) -> int:
    """Offsets of a full split."""
    return max(1, min(budget.records, int(budget.bytes / max(1.0, budget.record_bytes))))
