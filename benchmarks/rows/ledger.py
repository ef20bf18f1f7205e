"""The cost of the ledger with ten million objects and with ten thousand: it must be the same."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import create_engine, insert

from benchmarks.kit import Kit
from benchmarks.results import Result
from stream_infer.contracts import ObjectVersion, Planned
from stream_infer.ledger import Ledger, schema
from stream_infer.splits import Receipt, Split

_ROUNDS = 60
_SPLITS = 16  # of one round
_OBJECTS = 20  # of one split


def measure(kit: Kit) -> Result:
    """Rounds of plan, commit and lookup, by turns on the small and the large ledger."""
    few, many = 10_000, 300_000 if kit.quick else 10_000_000
    ledgers, sizes = {}, {}
    for count in (few, many):
        path = kit.folder / f"ledger-{count}.db"
        Ledger.open(f"sqlite:///{path}", {}).close()
        empty = path.stat().st_size
        fill(path, count)
        sizes[count] = (path.stat().st_size - empty) / count
        started = time.perf_counter()
        ledgers[count] = Ledger.open(f"sqlite:///{path}", {})
        ledgers[count].acquire("benchmark")
        ledgers[count].unfinished()
        opened = time.perf_counter() - started
    times: dict[int, list[float]] = {few: [], many: []}
    for number in range(_ROUNDS):
        for count in (few, many):
            times[count].append(_round(ledgers[count], number))
    costs = {count: statistics.median(seconds) for count, seconds in times.items()}
    result = Result(
        "ledger", f"Ledger: plan, commit and lookup of a split, {few:,} and {many:,} objects", "µs per split"
    )
    result.bars = {f"stream-infer, {count:,} objects": cost * 1e6 / _SPLITS for count, cost in costs.items()}
    limit = "B-tree depth and pages that are not in the page cache"
    result.add_at_most(f"cost beside {many:,} ÷ beside {few:,} objects", costs[many] / costs[few], 1.10, "x", limit)
    result.add_statement("bytes per object", f"{sizes[many]:.0f}")
    result.add_at_most("open to unfinished work known", opened, 5, "s")
    result.notes.append(f"SQLite, {_SPLITS} splits of {_OBJECTS} objects a transaction, median of {_ROUNDS} rounds")
    return result


def _round(ledger: Ledger, number: int) -> float:
    plans = list(_plans(number))
    names = [item.object_id for planned in plans for item in planned.objects]
    started = time.perf_counter()
    assert len(ledger.position("inbox").unseen(names)) == len(names)
    splits = ledger.plan("inbox", plans)
    ledger.commit([Receipt(split.split_id, "inbox", 1, split.bounds, rows=_OBJECTS) for split in splits])
    ledger.acknowledge([split.split_id for split in splits])
    return time.perf_counter() - started


def _plans(number: int) -> Iterator[Planned]:
    for part in range(_SPLITS):
        keys = [f"round-{number}/{part}/{item}" for item in range(_OBJECTS)]
        split = Split.of("inbox", {"objects": [{"key": key} for key in keys]}, folder="f", records=_OBJECTS, bytes=0)
        claims = tuple(ObjectVersion(f"s3://bucket/in/{key}?version=1", 1, 0.0) for key in keys)
        yield Planned(split, objects=claims)


def fill(path: Path, count: int) -> None:
    """Insert so many object claims, as a listing of a large bucket does."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        for start in range(0, count, 50_000):
            rows = [
                {
                    "object_id": f"s3://bucket/in/2026/11/24/document-{number:09d}.txt?version=d41d8cd98f00b204e9800998",
                    "source": "inbox",
                    "split_id": f"{number // 1000:032x}",
                    "size": 1000,
                    "modified": 0.0,
                }
                for number in range(start, min(count, start + 50_000))
            ]
            connection.execute(insert(schema.objects), rows)
    engine.dispose()
