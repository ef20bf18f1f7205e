"""The backlog: splits that wait for the execution, and those that are in it, within a byte budget."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Sequence
from itertools import count

from stream_infer.splits import Split

_LANES = {"live": 0, "backfill": 1}


class Backlog:
    """Thread-safe. Live splits leave before backfill, each lane in the order it came.

    Args:
        in_flight_bytes: most estimated input bytes in the execution; one split is always admitted, however big.
        in_flight_splits: most splits in the execution; bounds what a crash repeats and what waits unseen in Ray.
        waiting_splits: how many planned splits of one source may wait before its planning pauses. Of each source, since all
            leave in the order they came: one with a long backlog would leave the others no room to plan.
    """

    def __init__(self, in_flight_bytes: int, in_flight_splits: int, waiting_splits: int) -> None:
        self._limit_bytes = in_flight_bytes
        self._limit_splits = in_flight_splits
        self._limit_waiting = waiting_splits
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, int, Split]] = []
        self._in_flight: dict[str, Split] = {}
        self._bytes = 0
        self._order = count()
        self.admitted = 0  # so far

    def offer(self, splits: Sequence[Split]) -> None:
        """Add planned splits. Never blocks: what is planned is durable and must be kept."""
        with self._changed:
            for split in splits:
                heapq.heappush(self._waiting, (_LANES[split.lane], next(self._order), split))
            self._changed.notify_all()

    def take(self, timeout: float) -> list[Split]:
        """Splits that may enter now; empty after ``timeout`` seconds. They count as in flight from here on."""
        with self._changed:
            self._changed.wait_for(self._admits, timeout)
            taken = []
            while self._admits():
                split = heapq.heappop(self._waiting)[2]
                self._in_flight[split.split_id] = split
                self._bytes += split.bytes
                taken.append(split)
            self.admitted += len(taken)
            if taken:
                self._changed.notify_all()
            return taken

    def settle(self, split_id: str) -> None:
        """A split is out of the execution, whatever came of it. Idempotent."""
        with self._changed:
            split = self._in_flight.pop(split_id, None)
            if split is not None:
                self._bytes -= split.bytes
                self._changed.notify_all()

    def returned(self) -> list[Split]:
        """Take back what is in flight, because its execution failed."""
        with self._changed:
            splits = list(self._in_flight.values())
            self._in_flight.clear()
            self._bytes = 0
            self._changed.notify_all()
            return splits

    def snapshot(self) -> tuple[list[Split], list[Split]]:
        """What waits and what is in the execution; a few hundred at most, since planning pauses."""
        with self._changed:
            return [split for _, _, split in self._waiting], list(self._in_flight.values())

    def drop_waiting(self) -> int:
        """Forget what waits (the ledger has it): the service stops. Returns how many."""
        with self._changed:
            dropped = len(self._waiting)
            self._waiting.clear()
            return dropped

    def room(self, timeout: float, source: str, most: int | None = None) -> int:
        """How many more splits of a source may be planned; waits up to ``timeout`` seconds for at least one.

        Args:
            most: fewer than usual, those in the execution included.
        """

        def left() -> int:
            waiting = sum(split.source == source for _, _, split in self._waiting)
            free = self._limit_waiting - waiting
            if most is None:
                return free
            return min(free, most - waiting - sum(split.source == source for split in self._in_flight.values()))

        with self._changed:
            self._changed.wait_for(lambda: left() > 0, timeout)
            return max(0, left())

    def wait_waiting(self, timeout: float) -> bool:
        """True as soon as a split waits, False after ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._waiting), timeout)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @property
    def in_flight_bytes(self) -> int:
        return self._bytes

    def _admits(self) -> bool:
        if not self._waiting:
            return False
        if not self._in_flight:
            return True
        split = self._waiting[0][2]
        return len(self._in_flight) < self._limit_splits and self._bytes + split.bytes <= self._limit_bytes
