"""The plan of a new ledger, when the old one is lost and only the splits of its files are left."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stream_infer.bounds import LogRange, intervals
from stream_infer.connectors.kafka.cluster import Cluster, Partition
from stream_infer.connectors.kafka.partition_log import PartitionLog, range_of
from stream_infer.connectors.kafka.settings import KafkaSettings
from stream_infer.contracts import Planned
from stream_infer.intervals import IntervalSet, cut
from stream_infer.splits import Split


@dataclass(frozen=True, slots=True)
class _Kept:
    """A split that is left of the old ledger."""

    split: Split
    bounds: LogRange
    log: PartitionLog

    @classmethod
    def of(cls, split: Split) -> _Kept:
        bounds = range_of(split)
        return cls(split, bounds, PartitionLog.of(bounds))


def restored(
    splits: Sequence[Split], most: int, settings: KafkaSettings, cluster: Cluster, group: str
) -> Iterator[Planned]:
    """Yield the plan of `contracts.Restorable` for the source of these settings."""
    yield from map(Planned, splits)
    planned, by_key = IntervalSet(), dict[str, list[_Kept]]()
    for kept in sorted(map(_Kept.of, splits), key=lambda kept: (kept.bounds.position_key, kept.bounds.start)):
        planned.add(intervals(kept.bounds))
        by_key.setdefault(kept.bounds.position_key, []).append(kept)
    first_offsets = _first_offsets(by_key, planned, settings, cluster)
    positions: dict[str, Any] = _untouched(by_key, settings, cluster, group)
    for key, neighbours in by_key.items():
        stop = planned.bounds(key)[1]
        holes = planned.holes(key, first_offsets[key], stop)
        for low, high in (part for hole in holes for part in cut(hole, most)):
            before = bisect_right(neighbours, low, key=lambda kept: kept.bounds.start)
            yield Planned(_between(neighbours[max(0, before - 1)], low, high))
        positions |= {key: stop, f"first/{key}": {"offset": first_offsets[key]}}
        log = neighbours[0].log
        restored_incarnation = positions.get(f"topic/{log.topic_name}", {"incarnation": 0})["incarnation"]
        if log.topic_id and log.incarnation > restored_incarnation:
            positions[f"topic/{log.topic_name}"] = {"id": log.topic_id, "incarnation": log.incarnation}
    yield Planned(None, positions=positions)


def _between(neighbour: _Kept, start: int, stop: int) -> Split:
    """A split for a range that no file is left of, in the folder of its neighbour."""
    bounds = replace(neighbour.bounds, start=start, stop=stop, replay=0)
    like = neighbour.split
    size = like.bytes // max(1, like.records) * (stop - start)
    return Split.of(like.source, bounds, folder=like.folder, records=stop - start, bytes=size, planned_at=time.time())


def _first_offsets(
    by_key: Mapping[str, Sequence[_Kept]], planned: IntervalSet, settings: KafkaSettings, cluster: Cluster
) -> dict[str, int]:
    """First offset of each partition: as its splits say; else where it begins now, if it was to be read whole."""
    first_offsets: dict[str, int] = {}
    unsure: dict[Partition, str] = {}
    for key, neighbours in by_key.items():
        pinned = [kept.log.first for kept in neighbours if kept.log.first is not None]
        first_offsets[key] = min(pinned, default=planned.bounds(key)[0])
        log = neighbours[0].log
        if not pinned and log.incarnation == 1:
            unsure[log.topic, log.partition] = key
    if unsure and settings.start == "earliest":
        for partition, start in cluster.starts(sorted(unsure)).items():
            first_offsets[unsure[partition]] = min(first_offsets[unsure[partition]], start)
    return first_offsets


def _untouched(
    by_key: Mapping[str, Sequence[_Kept]], settings: KafkaSettings, cluster: Cluster, group: str
) -> dict[str, Any]:
    """Positions of partitions without a split, where ``start`` would skip records: the group's offset is a hint."""
    if settings.start == "earliest":
        return {}
    topics = cluster.topics(settings.topics).values()
    partitions = [(topic.name, number) for topic in topics for number in topic.partitions]
    without_split = [part for part in partitions if f"{part[0]}/{part[1]}" not in by_key]
    offsets = cluster.committed(group, without_split)
    return {f"{topic}/{number}": offset for (topic, number), offset in offsets.items()}
