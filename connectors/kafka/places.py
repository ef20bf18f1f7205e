"""Where the source stands in its partitions, and what a split of it is in a trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stream_infer.connectors.kafka.ages import Ages
from stream_infer.connectors.kafka.cluster import Partition
from stream_infer.contracts import PartitionStatus
from stream_infer.splits import Split


def places(
    prefix: Mapping[str, int],
    known: Mapping[Partition, str],
    ends: Mapping[Partition, int],
    nexts: Mapping[Partition, int],
    seen: Mapping[Partition, float],
    ages: Ages | None,
) -> Sequence[PartitionStatus]:
    """See `contracts.Source.places`.

    Args:
        known: partition -> topic as coordinates name it.
        ends / nexts: offsets as of the last plan.
        seen: when the oldest unplanned record was first known of; stands in for an age that is not looked up yet.
    """
    found = []
    waiting: dict[Partition, int] = {}
    for partition, known_as in known.items():
        end = ends.get(partition)
        position = prefix.get(f"{known_as}/{partition[1]}", nexts.get(partition))
        if end is None or position is None:
            continue
        oldest = None
        if position < end:
            waiting[partition] = position
            oldest = ages.at(partition, position) if ages is not None else None
            oldest = seen.get(partition) if oldest is None else oldest
        found.append(PartitionStatus(known_as, str(partition[1]), position, end, oldest))
    if ages is not None:
        ages.want(waiting)
    return found


def attributes(split: Split, group: str) -> Mapping[str, str | int]:
    """The messaging conventions of a batch that a consumer processes."""
    bounds = split.bounds
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": str(bounds["topic"].partition("@")[0]),
        "messaging.destination.partition.id": str(bounds["partition"]),
        "messaging.consumer.group.name": group,
        "messaging.kafka.offset": bounds["start"],
        "stream_infer.kafka.end_offset": bounds["stop"],
    }
