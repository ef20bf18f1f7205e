"""The suite of sources: every record planned once, whatever is planned, stored or started in between."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from stream_infer.bounds import LogRange, parse, record_ids
from stream_infer.contracts import PlanBudget, Planned, Source
from stream_infer.splits import Split
from stream_infer.testing.checks import require
from stream_infer.testing.reader import ids_of

_LONG: Final = 3600.0  # seconds that a wait may take; a wake ends it
_PATIENCE: Final = 60.0
_PLANS: Final = 1000


@dataclass(frozen=True, slots=True)
class CheckedSource:
    """What is to be planned, and how a source of it is opened.

    Attributes:
        open: gives a source over the same records each time, as each start of the service does.
        record_ids: coordinates of all its records.
        now: seconds since the epoch at which all of them may be planned.
    """

    open: Callable[[], Source]
    record_ids: Sequence[str]
    now: float


@dataclass(slots=True)
class MemoryPosition:
    """Implements `contracts.Position`: what a ledger keeps of a plan."""

    positions: dict[str, Any] = field(default_factory=dict)
    objects: set[str] = field(default_factory=set)

    def get(self, key: str) -> Any | None:
        """See `contracts.Position.get`."""
        return self.positions.get(key)

    def unseen(self, object_ids: Sequence[str]) -> set[str]:
        """See `contracts.Position.unseen`."""
        return set(object_ids) - self.objects

    def store(self, planned: Planned) -> None:
        """Keep one item of a plan."""
        self.positions.update(planned.positions)
        self.objects.update(item.object_id for item in planned.objects)


def check_source(make: Callable[[], CheckedSource]) -> None:
    """Hold a source against the promises of `contracts.Source`.

    Args:
        make: gives four records or more that nobody has planned yet; no more arrive meanwhile.

    Raises:
        AssertionError: a promise is broken; the sentence says which.
    """
    for check in (
        _every_record_is_planned_once,
        _budget_is_kept,
        _what_was_not_stored_is_planned_again,
        _restart_between_plans_loses_nothing,
        _splits_outlive_json,
        _wake_ends_a_wait,
        _committed_and_close_may_be_called_twice,
    ):
        check(make())


def plan_all(source: Source, position: MemoryPosition, budget: PlanBudget) -> list[Split]:
    """Plan until nothing is left; every item is stored before the next is asked for."""
    splits: list[Split] = []
    for _ in range(_PLANS):
        items = []
        for item in source.plan(position, budget):
            position.store(item)
            items.append(item)
        planned = [item.split for item in items if item.split is not None]
        if not planned and not any(item.positions for item in items):
            return splits
        splits += planned
    raise AssertionError(f"plan() still gives new work after {_PLANS} calls, while nothing arrives")


def _budget(case: CheckedSource, splits: int = 100, records: int = 1000) -> PlanBudget:
    return PlanBudget(splits=splits, records=records, bytes=2**30, freshness=0.0, now=case.now)


def _record_ids(source: Source, splits: Sequence[Split]) -> Counter[str]:
    reader = source.reader()
    return Counter(record_id for split in splits for record_id in ids_of(list(reader.read(split))))


def _complete(case: CheckedSource, counts: Mapping[str, int], when: str) -> None:
    missing = [record_id for record_id in case.record_ids if record_id not in counts]
    require(not missing, f"{when}: {missing[:1]} and {max(0, len(missing) - 1)} more are never planned")
    twice = [record_id for record_id, count in counts.items() if count > 1]
    require(not twice, f"{when}: {twice[:1]} is in two splits")
    surplus = counts.keys() - set(case.record_ids)
    require(not surplus, f"{when}: {sorted(surplus)[:1]} is planned and is no record of the source")


def _every_record_is_planned_once(case: CheckedSource) -> None:
    source, position = case.open(), MemoryPosition()
    splits = plan_all(source, position, _budget(case))
    _complete(case, _record_ids(source, splits), "one plan after another")
    require(len({split.split_id for split in splits}) == len(splits), "two splits have the same split_id")
    require(all(split.source == source.name for split in splits), "a split does not name its source")
    require(all(split.folder for split in splits), "a split has no folder for its output")
    source.close()


def _budget_is_kept(case: CheckedSource) -> None:
    source, position = case.open(), MemoryPosition()
    items = list(source.plan(position, _budget(case, splits=0)))
    require(not any(item.split for item in items), "plan() gives a split although the budget has none")
    for item in items:
        position.store(item)
    small = _budget(case, splits=1, records=2)
    planned = [item.split for item in source.plan(position, small) if item.split is not None]
    require(len(planned) == 1, f"plan() gives {len(planned)} splits although the budget has one and there is work")
    require(planned[0].records <= small.records, "a split has more records than the budget allows")
    source.close()


def _what_was_not_stored_is_planned_again(case: CheckedSource) -> None:
    position, small = MemoryPosition(), _budget(case, splits=1, records=2)
    first = [item.split for item in case.open().plan(position, small) if item.split is not None]
    again = [item.split for item in case.open().plan(position, small) if item.split is not None]
    require(
        [split.split_id for split in first] == [split.split_id for split in again],
        "work that was not stored is planned under another split_id after a restart",
    )


def _restart_between_plans_loses_nothing(case: CheckedSource) -> None:
    position = MemoryPosition()
    splits: list[Split] = []
    for _ in range(_PLANS):
        source = case.open()
        size = len(splits)
        for item in source.plan(position, _budget(case, splits=1, records=1)):
            position.store(item)
            splits += [item.split] if item.split is not None else []
        source.close()
        if len(splits) == size:
            break
    source = case.open()
    _complete(case, _record_ids(source, splits), "a restart after each split")
    require(plan_all(source, position, _budget(case)) == [], "a restart plans what is planned already")
    source.close()


def _splits_outlive_json(case: CheckedSource) -> None:
    source = case.open()
    for split in plan_all(source, MemoryPosition(), _budget(case)):
        copy = Split.from_json(split.to_json())
        require(copy == split, "a split is not the same after its way through JSON, as the ledger stores it")
        named = Split.of(split.source, split.bounds, folder=split.folder, records=split.records, bytes=split.bytes)
        require(named.split_id == split.split_id, "a split_id does not follow from source and bounds; use Split.of")
        bounds = parse(split.bounds)
        require(bounds.to_json() == split.bounds, "bounds are not the document of a LogRange or ObjectSet")
        halves = split.halves() or (split,)
        parts = _record_ids(source, halves)
        require(parts == _record_ids(source, [split]), "the halves of a split do not hold its records, each once")
        if isinstance(bounds, LogRange):
            strangers = parts.keys() - set(record_ids(bounds))
            require(not strangers, f"{sorted(strangers)[:1]} is not LOG/OFFSET of the split's bounds")
    source.close()


def _wake_ends_a_wait(case: CheckedSource) -> None:
    source = case.open()
    plan_all(source, MemoryPosition(), _budget(case))
    waiting = threading.Thread(target=source.wait, args=(_LONG,), daemon=True)
    waiting.start()
    source.wake()
    waiting.join(_PATIENCE)
    require(not waiting.is_alive(), f"wake() does not end a wait() within {_PATIENCE:.0f} s")
    source.close()


def _committed_and_close_may_be_called_twice(case: CheckedSource) -> None:
    source, position = case.open(), MemoryPosition()
    splits = plan_all(source, position, _budget(case))
    offsets = {key: value for key, value in position.positions.items() if isinstance(value, int)}
    for _ in range(2):
        source.committed(splits, offsets)
    require(source.status(offsets).lag.records == 0, "the source still shows waiting records after all are planned")
    for _ in range(2):
        source.close()
