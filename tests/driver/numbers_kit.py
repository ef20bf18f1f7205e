"""A source of numbers and a model that misbehaves on demand.

The engine is tested with these where the fault lies in the engine; the connectors have their own suites.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from stream_infer.contracts import Lag, PartitionStatus, Piece, PlanBudget, Planned, Position
from stream_infer.errors import RejectRecord
from stream_infer.splits import Split


class NumbersReader:
    def read(self, split: Split) -> Iterator[Piece]:
        numbers = range(split.bounds["start"], split.bounds["stop"])
        count = len(numbers)
        table = pa.table(
            {
                "record_id": [f"numbers/{number}" for number in numbers],
                "source": [split.source] * count,
                "key": pa.nulls(count, pa.string()),
                "event_time": pa.nulls(count, pa.timestamp("us", tz="UTC")),
                "trace_id": [split.trace_id] * count,
                "number": pa.array(numbers, pa.int64()),
            }
        )
        yield Piece(table, bytes=8 * count)


class NumbersSource:
    """Numbers below ``available``; `add` makes more of them arrive."""

    def __init__(self, name: str, available: int, most: int = 10) -> None:
        self.name = name
        self.prefix: Mapping[str, int] = {}
        self._available = available
        self._most = most
        self._arrived = threading.Event()

    def add(self, count: int) -> None:
        self._available += count
        self._arrived.set()

    def plan(self, position: Position, budget: PlanBudget) -> Iterator[Planned]:
        start = position.get("n") or 0
        for _ in range(budget.splits):
            stop = min(start + min(self._most, budget.records), self._available)
            if stop <= start:
                return
            bounds = {"position_key": "n", "start": start, "stop": stop}
            split = Split.of(
                self.name, bounds, folder="date=2026-01-01", records=stop - start, bytes=8 * (stop - start)
            )
            yield Planned(split, positions={"n": stop})
            start = stop

    def wait(self, timeout: float) -> None:
        self._arrived.wait(timeout)
        self._arrived.clear()

    def wake(self) -> None:
        self._arrived.set()

    def lag(self, position: Position) -> Lag:
        return Lag(records=self._available - (position.get("n") or 0))

    def places(self, prefix: Mapping[str, int]) -> Sequence[PartitionStatus]:
        return [PartitionStatus("n", "0", prefix.get("n", 0), self._available, oldest=1.0)]

    def attributes(self, split: Split) -> Mapping[str, str | int]:
        return {"numbers.start": split.bounds["start"]}

    def reader(self) -> NumbersReader:
        return NumbersReader()

    def bisect(self, split: Split) -> tuple[Split, Split] | None:
        start, stop = split.bounds["start"], split.bounds["stop"]
        if stop - start < 2:
            return None
        middle = (start + stop) // 2
        left, right = (
            split.child({"position_key": "n", "start": low, "stop": high}, records=high - low, bytes=8 * (high - low))
            for low, high in ((start, middle), (middle, stop))
        )
        return left, right

    def record_ids(self, split: Split) -> Iterator[str]:
        yield f"numbers/{split.bounds['start']}"

    def committed(self, splits: Sequence[Split], prefix: Mapping[str, int]) -> None:
        self.prefix = dict(prefix)

    def close(self) -> None:
        return


class Moody:
    """Squares numbers; raises on some, kills its process on others, hangs or exhausts its memory on yet others."""

    def __init__(
        self,
        raising: Sequence[int] = (),
        killing: Sequence[int] = (),
        hanging: Sequence[int] = (),
        hungry: Sequence[int] = (),
        **_: object,
    ) -> None:
        self._raising = set(raising)
        self._killing = set(killing)
        self._hanging = set(hanging)
        self._hungry = set(hungry)

    def prepare(self, records: pa.Table) -> pa.Table:
        if self._hungry & set(records.column("number").to_pylist()):
            with _little_memory():
                bytearray(2**34)
        return records

    def infer(self, batch: pa.Table) -> dict[str, list[int]]:
        numbers = batch.column("number").to_pylist()
        if self._killing & set(numbers):
            os.kill(os.getpid(), signal.SIGKILL)
        if self._hanging & set(numbers):
            re.match(r"(a+)+$", "a" * 60 + "b")  # for years, and without ever letting go of the interpreter
        for number in numbers:
            if number in self._raising:
                raise RejectRecord(f"{number} is not liked", reason="moody")
        return {"square": [number * number for number in numbers]}


@contextmanager
def _little_memory() -> Iterator[None]:
    """This process may have 1 GiB more address space than it has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**30, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
