"""Offset ranges: what can be made of a split without asking a broker."""

from __future__ import annotations

import time
from collections.abc import Iterator

from stream_infer.intervals import Intervals
from stream_infer.records import KafkaCoordinate, parse_coordinate
from stream_infer.splits import Reject, Split


def bisect(split: Split) -> tuple[Split, Split] | None:
    """Two halves; None where it is one offset."""
    start, stop = split.bounds["start"], split.bounds["stop"]
    if stop - start < 2:
        return None
    middle = (start + stop) // 2
    each = split.bytes // (stop - start)
    left, right = (
        split.child({**split.bounds, "start": low, "stop": high}, records=high - low, bytes=each * (high - low))
        for low, high in ((start, middle), (middle, stop))
    )
    return left, right


def record_ids(split: Split) -> Iterator[str]:
    """Coordinates of all its offsets."""
    for offset in range(split.bounds["start"], split.bounds["stop"]):
        yield coordinate(split, offset)


def coordinate(split: Split, offset: int) -> str:
    """The coordinate of one offset of the split's partition."""
    bounds = split.bounds
    return str(KafkaCoordinate(bounds["cluster"], bounds["topic"], bounds["partition"], offset))


def replay(split: Split, reject: Reject, number: int) -> Split:
    """The one offset of a rejected record, once more."""
    coordinate = parse_coordinate(reject.record_id)
    assert isinstance(coordinate, KafkaCoordinate)
    bounds = {**split.bounds, "start": coordinate.offset, "stop": coordinate.offset + 1, "replay": number}
    size = split.bytes // max(1, split.records)
    fixed = {"folder": split.folder, "lane": split.lane, "planned_at": time.time(), "parent": split.split_id}
    return Split.of(split.source, bounds, records=1, bytes=size, **fixed)


def intervals(split: Split) -> Intervals:
    """Its offsets, under the position key of its partition."""
    return {split.bounds["position_key"]: (split.bounds["start"], split.bounds["stop"])}


def between(like: Split, start: int, stop: int) -> Split:
    """A split for a range that nothing is left of, named as its neighbour is."""
    bounds = {name: value for name, value in like.bounds.items() if name != "replay"}
    bounds |= {"start": start, "stop": stop}
    size = like.bytes // max(1, like.records) * (stop - start)
    return Split.of(like.source, bounds, folder=like.folder, records=stop - start, bytes=size, planned_at=time.time())
