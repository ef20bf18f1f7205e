"""The size of a split in records: about a second of the slowest stage."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from stream_infer.splits import Receipt

TARGET_SECONDS = 1.0
_MOST_SECONDS = 8.0  # under a backlog: with more records to choose from, a model's batches have less padding
_SHARES = 4  # fewest splits of each actor's part of a backlog, so that all actors end at about the same time
FIRST_RECORD_BYTES = 1024.0
FIRST_RECORDS = 512  # before any receipt
FIRST_RECORDS_EXPENSIVE = 32  # the same, for a model that is not cheap
_PROBES = 8  # receipts after which the cost is more than a guess
_FIXED_SECONDS = 0.05  # the most that counts as the fixed cost of a split, such as seeking and flushing
_WEIGHT = 0.3  # of the newest receipt in the moving average
_PATIENCE = 20  # times the expected seconds of a try; a slow minute of the machine must not look like a hang
_GROWTH = 32  # times the largest split so far, at most: a cost learned from a few records may be a poor guess


class SplitSizer:
    """A moving cost per record of one source, learned from receipts. Thread-safe.

    Args:
        most: most records of one split, the setting ``limits.split_records``.
        first: records of a split before any receipt.
        fused: the stages share one actor, so their seconds add up; otherwise the slowest stage decides.
        actors: number of actors of the largest pool, which is the number of splits in work at the same time.
    """

    def __init__(self, most: int, *, first: int = FIRST_RECORDS, fused: bool, actors: int = 1) -> None:
        self._most = most
        self._shares = _SHARES * actors
        self._fused = fused
        self._lock = threading.Lock()
        self._first = first
        self._cost: float | None = None
        self._least = float("inf")
        self._receipts = 0
        self._largest = 0
        self._record_bytes = FIRST_RECORD_BYTES

    def learn(self, receipt: Receipt, stage_seconds: Mapping[str, float] | None = None) -> None:
        """Learn the cost of a record from one receipt.

        Args:
            stage_seconds: busy seconds by stage, those of writing included; None: those in the receipt.
        """
        by_stage = receipt.seconds if stage_seconds is None else stage_seconds
        if not receipt.records or not by_stage:
            return
        seconds = sum(by_stage.values()) if self._fused else max(by_stage.values())
        with self._lock:
            self._receipts += 1
            self._least = min(self._least, seconds)
            cost = (seconds - min(_FIXED_SECONDS, 0.9 * self._least)) / receipt.records
            # The average rises fast when records grow and falls slowly when they shrink: too large splits would exhaust the memory.
            size = receipt.bytes_in / receipt.records
            self._record_bytes += (0.5 if size > self._record_bytes else 0.1) * (size - self._record_bytes)
            # The overhead of a split of one record must not make the next ones small, so small splits count less.
            weight = _WEIGHT if receipt.records * 2 >= self._largest else _WEIGHT * receipt.records / self._largest
            self._cost = cost if self._cost is None else self._cost + weight * (cost - self._cost)
            self._largest = max(receipt.records, int(self._largest * 0.99))

    @property
    def probing(self) -> bool:
        """Whether the cost of a record is still a guess. A split that is planned now keeps its guessed size."""
        return self._receipts < _PROBES

    def deadline(self, records: int, least: float | None) -> float | None:
        """Seconds that one try of a stage may take; None where the setting ``least`` turns the deadline off.

        Args:
            least: ``limits.split_timeout``.
        """
        if not least:
            return None
        with self._lock:
            return max(least, _PATIENCE * (self._cost or 0.0) * records)

    def record_bytes(self) -> float:
        """Input bytes of one record, as learned so far."""
        with self._lock:
            return max(1.0, self._record_bytes)

    def records(self, waiting: int = 0, waiting_bytes: int = 0) -> int:
        """Records of the next split, 1 … ``most``. The source keeps the split within ``limits.split_bytes``.

        Args:
            waiting: records that wait in the source. An object counts as one: its number of records is unknown until it is
                read.
            waiting_bytes: size of the waiting records, a better estimate once the size of a record was learned.
        """
        with self._lock:
            if self._cost is None:
                return min(self._first, self._most)
            waiting = max(waiting, int(waiting_bytes / max(1.0, self._record_bytes)))
            seconds = min(_MOST_SECONDS, max(TARGET_SECONDS, waiting * self._cost / self._shares))
            wanted = int(seconds / max(self._cost, 1e-9))
            return max(1, min(wanted, max(self._first, self._largest * _GROWTH), self._most))
