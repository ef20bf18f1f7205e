"""The backlog: splits that wait for the execution, and splits in the execution, within a byte budget."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Sequence
from itertools import count

from stream_infer.splits import Split

_LANES = {"live": 0, "backfill": 1}


class Backlog:
    """The splits that are planned and not final. Thread-safe. Live splits are admitted before backfill, each lane in its order.

    Args:
        in_flight_bytes: limit of the estimated input bytes in the execution; one split is always admitted, however big.
        in_flight_splits: limit of the splits in the execution. It bounds the work that a crash repeats and the queues in Ray.
        waiting_splits: limit of the waiting splits of each source; its planning pauses there. A common limit would let a
            source with a long backlog stop the planning of the others.
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
        self.admitted = 0  # splits so far

    def offer(self, splits: Sequence[Split]) -> None:
        """Add planned splits. Never blocks: they are in the ledger already."""
        with self._changed:
            for split in splits:
                heapq.heappush(self._waiting, (_LANES[split.lane], next(self._order), split))
            self._changed.notify_all()

    def take(self, timeout: float) -> list[Split]:
        """Admit splits to the execution; none after ``timeout`` seconds. They are in flight from here on."""
        with self._changed:
            self._changed.wait_for(self._can_admit, timeout)
            admitted = []
            while self._can_admit():
                split = heapq.heappop(self._waiting)[2]
                self._in_flight[split.split_id] = split
                self._bytes += split.bytes
                admitted.append(split)
            self.admitted += len(admitted)
            if admitted:
                self._changed.notify_all()
            return admitted

    def settle(self, split_id: str) -> None:
        """Remove a split that has left the execution, with any outcome. Idempotent."""
        with self._changed:
            split = self._in_flight.pop(split_id, None)
            if split is not None:
                self._bytes -= split.bytes
                self._changed.notify_all()

    def returned(self) -> list[Split]:
        """Take all splits in flight back, because their execution failed."""
        with self._changed:
            splits = list(self._in_flight.values())
            self._in_flight.clear()
            self._bytes = 0
            self._changed.notify_all()
            return splits

    def snapshot(self) -> tuple[list[Split], list[Split]]:
        """The waiting splits and those in flight: a few hundred at most, since planning pauses."""
        with self._changed:
            return [split for _, _, split in self._waiting], list(self._in_flight.values())

    def drop_waiting(self) -> int:
        """Remove the waiting splits, because the service stops; returns their number. They stay planned in the ledger."""
        with self._changed:
            dropped = len(self._waiting)
            self._waiting.clear()
            return dropped

    def capacity(self, timeout: float, source: str, most: int | None = None) -> int:
        """Number of splits of a source that may be planned now; waits up to ``timeout`` seconds for at least one.

        Args:
            most: a lower limit for this source, which includes its splits in flight.
        """

        def free() -> int:
            waiting = sum(split.source == source for _, _, split in self._waiting)
            below_limit = self._limit_waiting - waiting
            if most is None:
                return below_limit
            return min(below_limit, most - waiting - sum(split.source == source for split in self._in_flight.values()))

        with self._changed:
            self._changed.wait_for(lambda: free() > 0, timeout)
            return max(0, free())

    def wait_for_split(self, timeout: float) -> bool:
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

    def _can_admit(self) -> bool:
        if not self._waiting:
            return False
        if not self._in_flight:
            return True
        split = self._waiting[0][2]
        return len(self._in_flight) < self._limit_splits and self._bytes + split.bytes <= self._limit_bytes
