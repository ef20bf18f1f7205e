"""A source of numbers for tests, and its reader: a log of one partition whose record N is the number N."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from stream_infer.bounds import LogRange, parse, record_ids
from stream_infer.contracts import Lag, PartitionStatus, Piece, PlanBudget, Planned, Position, SourceStatus
from stream_infer.rejects import Original
from stream_infer.splits import Reject, Split
from stream_infer.testing.script import Script, Signal


def numbers_range(start: int, stop: int) -> LogRange:
    """Bounds of the numbers from ``start`` to before ``stop``."""
    return LogRange("numbers", start, stop, position_key="n")


class NumbersReader:
    """Implements `contracts.Reader`: the content column is ``number``."""

    def read(self, split: Split) -> Iterator[Piece]:
        """See `contracts.Reader.read`."""
        bounds = parse(split.bounds)
        assert isinstance(bounds, LogRange)
        numbers = range(bounds.start, bounds.stop)
        count = len(numbers)
        table = pa.table(
            {
                "record_id": list(record_ids(bounds)),
                "source": [split.source] * count,
                "key": pa.nulls(count, pa.string()),
                "event_time": pa.nulls(count, pa.timestamp("us", tz="UTC")),
                "trace_id": [split.trace_id] * count,
                "number": pa.array(numbers, pa.int64()),
            }
        )
        yield Piece(table, bytes=8 * count)

    def original(self, split: Split, reject: Reject, most: int) -> Original:
        """See `contracts.Reader.original`: the number as text."""
        value = reject.record_id.rpartition("/")[2].encode()
        return Original(value=value[:most], missing="too_large" if len(value) > most else None)


class NumbersSource:
    """Implements `contracts.Source`.

    Args:
        script: how many numbers there are, or counts with `EOF`, `ABORT` and `PAUSE` between them.
        most: numbers of one split.

    Attributes:
        committed_offsets: what the last call of `committed` brought.
    """

    def __init__(self, name: str, script: int | Sequence[int | Signal], most: int = 10) -> None:
        self.name = name
        self.committed_offsets: Mapping[str, int] = {}
        self._script = Script([script] if isinstance(script, int) else script)
        self._most = most
        self._planned = 0
        self._woken = threading.Event()

    def add(self, count: int) -> None:
        """Let so many more numbers arrive."""
        self._script.add(count)
        self._woken.set()

    def plan(self, position: Position, budget: PlanBudget) -> Iterator[Planned]:
        """See `contracts.Source.plan`."""
        start = self._planned = position.get("n") or 0
        self._script.check_abort(start)
        for _ in range(budget.splits):
            stop = min(start + min(self._most, budget.records), self._script.available(start))
            if stop <= start:
                return
            size = {"records": stop - start, "bytes": 8 * (stop - start)}
            split = Split.of(
                self.name, numbers_range(start, stop), folder="date=2026-01-01", planned_at=budget.now, **size
            )
            yield Planned(split, positions={"n": stop})
            start = self._planned = stop

    def wait(self, timeout: float) -> None:
        """See `contracts.Source.wait`."""
        pause = self._script.seconds_left()
        self._woken.wait(timeout if pause is None else min(timeout, pause))
        self._woken.clear()

    def wake(self) -> None:
        """See `contracts.Source.wake`."""
        self._woken.set()

    def status(self, committed_offsets: Mapping[str, int]) -> SourceStatus:
        """See `contracts.Source.status`."""
        partition = PartitionStatus("n", "0", committed_offsets.get("n", 0), self._script.total, oldest=1.0)
        return SourceStatus(Lag(records=self._script.total - self._planned), [partition])

    def reader(self) -> NumbersReader:
        """See `contracts.Source.reader`."""
        return NumbersReader()

    def committed(self, splits: Sequence[Split], committed_offsets: Mapping[str, int]) -> None:
        """See `contracts.Source.committed`."""
        self.committed_offsets = dict(committed_offsets)

    def close(self) -> None:
        """See `contracts.Source.close`."""
        return
