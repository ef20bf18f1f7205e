"""Half-open intervals ``[start, stop)`` by key, their union and the parts that it does not cover."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping

Interval = tuple[int, int]
Intervals = Mapping[str, Interval]
END = 2**62  # stop of an interval whose end is unknown


class IntervalSet:
    """The union of intervals, kept as disjoint intervals in order."""

    def __init__(self) -> None:
        self._intervals: dict[str, tuple[list[int], list[int]]] = {}

    def add(self, intervals: Intervals) -> None:
        """Add intervals to the union; they may overlap it."""
        for key, (low, high) in intervals.items():
            if low >= high:
                continue
            starts, stops = self._intervals.setdefault(key, ([], []))
            first, last = bisect_left(stops, low), bisect_right(starts, high)
            if first < last:
                low, high = min(low, starts[first]), max(high, stops[last - 1])
            starts[first:last], stops[first:last] = [low], [high]

    def touches(self, intervals: Intervals) -> bool:
        """Whether the union covers a part of them."""
        for key, (low, high) in intervals.items():
            starts, stops = self._intervals.get(key, ([], []))
            at = bisect_right(stops, low)
            if low < high and at < len(starts) and starts[at] < high:
                return True
        return False

    def bounds(self, key: str) -> Interval:
        """First start and last stop under a key that has an interval."""
        starts, stops = self._intervals[key]
        return starts[0], stops[-1]

    def keys(self) -> list[str]:
        return sorted(self._intervals)

    def holes(self, key: str, start: int, stop: int) -> Iterator[Interval]:
        """The parts of ``[start, stop)`` that are not covered, in order."""
        at = start
        for low, high in zip(*self._intervals.get(key, ([], [])), strict=True):
            if low >= stop:
                break
            if low > at:
                yield at, low
            at = max(at, high)
        if at < stop:
            yield at, stop


def cut(interval: Interval, most: int) -> Iterator[Interval]:
    """The interval in pieces of at most ``most``."""
    start, stop = interval
    for low in range(start, stop, most):
        yield low, min(low + most, stop)
