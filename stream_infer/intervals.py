"""Half-open ranges ``[start, stop)`` by key: what is covered, and what of a range is not."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping

Span = tuple[int, int]
Intervals = Mapping[str, Span]
END = 2**62  # of a range whose end nobody knows


class IntervalSet:
    """The union of what was added, kept as disjoint ranges in order."""

    def __init__(self) -> None:
        self._spans: dict[str, tuple[list[int], list[int]]] = {}

    def add(self, intervals: Intervals) -> None:
        """Cover these as well; they may overlap what is covered."""
        for key, (low, high) in intervals.items():
            if low >= high:
                continue
            starts, stops = self._spans.setdefault(key, ([], []))
            first, last = bisect_left(stops, low), bisect_right(starts, high)
            if first < last:
                low, high = min(low, starts[first]), max(high, stops[last - 1])
            starts[first:last], stops[first:last] = [low], [high]

    def touches(self, intervals: Intervals) -> bool:
        """Whether anything of it is covered."""
        for key, (low, high) in intervals.items():
            starts, stops = self._spans.get(key, ([], []))
            at = bisect_right(stops, low)
            if low < high and at < len(starts) and starts[at] < high:
                return True
        return False

    def bounds(self, key: str) -> Span:
        """First start and last stop under a key that has any."""
        starts, stops = self._spans[key]
        return starts[0], stops[-1]

    def keys(self) -> list[str]:
        return sorted(self._spans)

    def holes(self, key: str, start: int, stop: int) -> Iterator[Span]:
        """The parts of ``[start, stop)`` that are not covered, in order."""
        at = start
        for low, high in zip(*self._spans.get(key, ([], [])), strict=True):
            if low >= stop:
                break
            if low > at:
                yield at, low
            at = max(at, high)
        if at < stop:
            yield at, stop


def cut(span: Span, most: int) -> Iterator[Span]:
    """The span in pieces of at most ``most``."""
    start, stop = span
    for low in range(start, stop, most):
        yield low, min(low + most, stop)
