"""How many records make one split: about a second of the slowest stage."""

from __future__ import annotations

import threading

from stream_infer.splits import Receipt

TARGET_SECONDS = 1.0
_MOST_SECONDS = 8.0  # under a backlog: a model's batches are better when more records are there to choose from
_SHARES = 4  # of the backlog for each actor, that one split may be: the last are small, so that all actors end together
FIRST_RECORD_BYTES = 1024.0
FIRST_RECORDS = 512  # before any receipt
FIRST_RECORDS_DEAR = 32  # the same, of a model with weights
_PROBES = 8  # receipts after which the cost is more than a guess
_FIXED_SECONDS = 0.05  # at most, of what a split costs however few records it has: to seek, to flush
_WEIGHT = 0.3  # of the newest receipt in the moving average
_PATIENCE = 20  # times as long as its cost lets expect: a slow minute of the machine is no hanging
_GROWTH = 32  # at most this much larger than the largest seen: a cost learned from a few records may be a poor guess


class SplitSizer:
    """A moving cost per record of one source, learned from receipts. Thread-safe.

    Args:
        most: most records of one split, the setting ``limits.split_records``.
        first: records of a split before any receipt.
        fused: the steps share one actor, so their seconds add up; else the slowest of them decides.
        actors: of the largest pool; so many splits are worked on side by side.
    """

    def __init__(self, most: int, *, first: int = FIRST_RECORDS, fused: bool, actors: int = 1) -> None:
        self._most = most
        self._shares = _SHARES * actors
        self._fused = fused
        self._lock = threading.Lock()
        self._first = first
        self._cost: float | None = None
        self._least = float("inf")
        self._seen = 0
        self._largest = 0
        self._record_bytes = FIRST_RECORD_BYTES

    def learn(self, receipt: Receipt) -> None:
        """Take one receipt into account."""
        if not receipt.records or not receipt.seconds:
            return
        seconds = sum(receipt.seconds.values()) if self._fused else max(receipt.seconds.values())
        with self._lock:
            self._seen += 1
            self._least = min(self._least, seconds)
            cost = (seconds - min(_FIXED_SECONDS, 0.9 * self._least)) / receipt.records
            # Half the way at once when records grow, slowly when they shrink: memory is what must not be overrun.
            size = receipt.bytes_in / receipt.records
            self._record_bytes += (0.5 if size > self._record_bytes else 0.1) * (size - self._record_bytes)
            # The overhead of a split of one record must not make the next ones small: the cheapest size seen counts more.
            weight = _WEIGHT if receipt.records * 2 >= self._largest else _WEIGHT * receipt.records / self._largest
            self._cost = cost if self._cost is None else self._cost + weight * (cost - self._cost)
            self._largest = max(receipt.records, int(self._largest * 0.99))

    @property
    def probing(self) -> bool:
        """Whether few receipts have told yet what a record costs: what is planned now keeps a size that is a guess."""
        return self._seen < _PROBES

    def deadline(self, records: int, least: float | None) -> float | None:
        """Seconds that one try of a step of a split may take; None where ``least``, the setting, turns it off.

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
        """Records of the next split, 1 … ``most``; that they also fit into ``limits.split_bytes`` is the source's care.

        Args:
            waiting: how many are known to wait. Of objects nobody knows how many records they hold before they are
                read, so they count as one each.
            waiting_bytes: their size, which tells more once the size of a record was learned.
        """
        with self._lock:
            if self._cost is None:
                return min(self._first, self._most)
            waiting = max(waiting, int(waiting_bytes / max(1.0, self._record_bytes)))
            seconds = min(_MOST_SECONDS, max(TARGET_SECONDS, waiting * self._cost / self._shares))
            wanted = int(seconds / max(self._cost, 1e-9))
            return max(1, min(wanted, max(self._first, self._largest * _GROWTH), self._most))
