"""What a new ledger is told of the partitions, when an old one is lost and only the splits of its files are left."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stream_infer.connectors.kafka.cluster import Cluster
from stream_infer.connectors.kafka.ranges import between, intervals
from stream_infer.connectors.kafka.settings import KafkaSettings
from stream_infer.contracts import Planned
from stream_infer.intervals import IntervalSet, cut
from stream_infer.splits import Split


def restored(
    splits: Sequence[Split], most: int, settings: KafkaSettings, cluster: Cluster, group: str
) -> Iterator[Planned]:
    """`contracts.Source.restore` of the source of these settings."""
    yield from map(Planned, splits)
    cover, by_key = IntervalSet(), dict[str, list[Split]]()
    for split in sorted(splits, key=lambda split: (split.bounds["position_key"], split.bounds["start"])):
        cover.add(intervals(split))
        by_key.setdefault(split.bounds["position_key"], []).append(split)
    firsts = _firsts(by_key, cover, settings, cluster)
    positions: dict[str, Any] = _untouched(by_key, settings, cluster, group)
    for key, known in by_key.items():
        stop = cover.bounds(key)[1]
        for low, high in (part for hole in cover.holes(key, firsts[key], stop) for part in cut(hole, most)):
            before = bisect_right(known, low, key=lambda split: split.bounds["start"])
            yield Planned(between(known[max(0, before - 1)], low, high))
        positions |= {key: stop, f"first/{key}": {"offset": firsts[key]}}
        bounds = known[0].bounds
        name, _, incarnation = bounds["topic"].partition("@")
        was = positions.get(f"topic/{name}", {"incarnation": 0})["incarnation"]
        if bounds.get("topic_id") and int(incarnation or 1) > was:
            positions[f"topic/{name}"] = {"id": bounds["topic_id"], "incarnation": int(incarnation or 1)}
    yield Planned(None, positions=positions)


def _firsts(
    by_key: Mapping[str, Sequence[Split]], cover: IntervalSet, settings: KafkaSettings, cluster: Cluster
) -> dict[str, int]:
    """Where each partition was begun: as its splits say; else where it begins now, if it was to be read whole."""
    firsts = {
        key: min((split.bounds["first"] for split in known if "first" in split.bounds), default=cover.bounds(key)[0])
        for key, known in by_key.items()
    }
    unsure = {
        (known[0].bounds["topic"], known[0].bounds["partition"]): key
        for key, known in by_key.items()
        if not any("first" in split.bounds for split in known) and "@" not in known[0].bounds["topic"]
    }
    if unsure and settings.start == "earliest":
        for place, start in cluster.starts(sorted(unsure)).items():
            firsts[unsure[place]] = min(firsts[unsure[place]], start)
    return firsts


def _untouched(
    by_key: Mapping[str, Sequence[Split]], settings: KafkaSettings, cluster: Cluster, group: str
) -> dict[str, Any]:
    """Positions of partitions without a split, where ``start`` would skip records: the group's offset is a hint."""
    if settings.start == "earliest":
        return {}
    topics = cluster.topics(settings.topics).values()
    fresh = [(topic.name, number) for topic in topics for number in topic.partitions]
    fresh = [part for part in fresh if f"{part[0]}/{part[1]}" not in by_key]
    found = cluster.committed(group, fresh)
    return {f"{topic}/{number}": offset for (topic, number), offset in found.items()}
