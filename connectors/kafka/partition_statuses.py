"""Position, end and age of each partition that the source reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stream_infer.connectors.kafka.ages import Ages
from stream_infer.connectors.kafka.cluster import Partition
from stream_infer.contracts import PartitionStatus


def partition_statuses(
    committed_offsets: Mapping[str, int],
    topics: Mapping[Partition, str],
    ends: Mapping[Partition, int],
    next_offsets: Mapping[Partition, int],
    first_seen: Mapping[Partition, float],
    ages: Ages | None,
) -> Sequence[PartitionStatus]:
    """The partitions of `contracts.SourceStatus`.

    Args:
        topics: partition -> topic as coordinates name it.
        ends / next_offsets: as of the last plan.
        first_seen: when the oldest unplanned record was first seen; used for an age that has not been looked up yet.
    """
    statuses = []
    behind: dict[Partition, int] = {}
    for partition, topic in topics.items():
        end = ends.get(partition)
        position = committed_offsets.get(f"{topic}/{partition[1]}", next_offsets.get(partition))
        if end is None or position is None:
            continue
        oldest = None
        if position < end:
            behind[partition] = position
            oldest = ages.at(partition, position) if ages is not None else None
            oldest = first_seen.get(partition) if oldest is None else oldest
        statuses.append(PartitionStatus(topic, str(partition[1]), position, end, oldest))
    if ages is not None:
        ages.want(behind)
    return statuses
