"""A planner outlives whatever its source meets outside, and says so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from stream_infer.config import Limits
from stream_infer.contracts import PlanBudget, Planned, Position
from stream_infer.driver.admission import Backlog
from stream_infer.driver.planner import Planner, _grouped
from stream_infer.driver.sizing import SplitSizer
from stream_infer.errors import Fatal, Retryable
from stream_infer.ledger import Ledger
from stream_infer.splits import Receipt, Split
from stream_infer.testing import NumbersSource


class Flaky(NumbersSource):
    """Fails to plan and to wait while ``away``; cannot go on at all once ``broken``."""

    away = broken = False

    def plan(self, position: Position, budget: PlanBudget) -> Iterator[Planned]:
        if self.broken:
            raise Fatal("a person must act")
        if self.away:
            raise Retryable("the broker is away")
        yield from super().plan(position, budget)

    def wait(self, timeout: float) -> None:
        if self.away:
            raise Retryable("the broker is away")
        super().wait(timeout)


def _planner(folder: Path, source: NumbersSource, capacity: int = 100) -> tuple[Planner, Backlog]:
    ledger = Ledger.open(f"sqlite:///{folder}/ledger.db", {})
    ledger.acquire("test")
    backlog = Backlog(10**6, 100, capacity)
    sizer = SplitSizer(10, fused=False)
    return Planner(source, ledger, backlog, sizer, Limits(freshness=0), "plan", False), backlog


def test_an_outage_is_waited_out_and_shown(tmp_path: Path) -> None:
    source = Flaky("numbers", 10)
    planner, backlog = _planner(tmp_path, source)
    planner.start()
    _until(lambda: backlog.waiting == 1)
    source.away = True
    source.add(10)
    _until(lambda: planner.trouble == "the broker is away")
    source.away = False
    _until(lambda: backlog.waiting == 2)
    _until(lambda: planner.trouble is None)
    planner.finish()
    planner.join(30)
    assert not planner.is_alive()
    assert planner.failure is None


def test_a_source_that_cannot_go_on_stops_with_its_sentence(tmp_path: Path) -> None:
    source = Flaky("numbers", 10)
    source.broken = True
    planner, backlog = _planner(tmp_path, source)
    planner.start()
    _until(lambda: not planner.planning)
    assert str(planner.failure) == "a person must act"
    assert backlog.waiting == 0
    planner.finish()
    planner.join(30)


def test_what_waits_stays_known_while_nothing_more_may_be_planned(tmp_path: Path) -> None:
    source = NumbersSource("numbers", 50)
    planner, backlog = _planner(tmp_path, source, capacity=2)
    planner.start()
    _until(lambda: backlog.waiting == 2)
    source.add(1000)
    _until(lambda: planner.status.lag.records == 1030)
    assert backlog.waiting == 2
    planner.finish()
    planner.join(30)


def _until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_splits_of_one_plan_share_a_transaction_and_positions_alone_are_stored_at_once() -> None:
    split = Split.of("numbers", {"n": 1}, folder="f", records=1, bytes=1)
    moved, work = Planned(None, positions={"a": 1}), Planned(split)
    assert list(_grouped(iter([]))) == []
    assert list(_grouped(iter([moved, work, work]))) == [[moved], [work, work]]
    assert [len(group) for group in _grouped(iter([work] * 130))] == [64, 64, 2]


def test_a_source_whose_cost_is_unknown_plans_a_few_probes(tmp_path: Path) -> None:
    source = NumbersSource("numbers", 10)
    planner, backlog = _planner(tmp_path, source)
    source.add(1000)
    planner.start()
    _until(lambda: backlog.waiting == 4)
    taken = backlog.take(0)
    assert backlog.capacity(0.2, "numbers", 4) == 0
    for _ in range(8):
        planner._sizer.learn(Receipt("i", "numbers", 1, {}, rows=10, seconds={"infer": 0.001}))
    for split in taken:
        backlog.settle(split.split_id)
    _until(lambda: backlog.waiting > 10)
    planner.finish()
    planner.join(30)
