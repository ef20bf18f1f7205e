"""Gauges read what is in memory; actor time adds up to what passed."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from stream_infer.contracts import Lag, PartitionStatus, SourceStatus
from stream_infer.driver.admission import Backlog
from stream_infer.driver.gauges import Gauges, Rate
from stream_infer.errors import Retryable
from stream_infer.execution.attempts import AttemptTracker
from stream_infer.splits import Split
from stream_infer.stages import READ_DEMAND
from stream_infer.tasks import PRIMING, Done, Outcome, Task, Trail
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metrics import Metrics
from stream_infer.telemetry.record_metrics import ActorTime
from stream_infer.worker.actor import StageActor
from stream_infer.worker.envelope import pack, unpack


def _planner(name: str, **values: Any) -> Any:
    given = {"status": SourceStatus(), "trouble": None, "failure": None, **values}
    return SimpleNamespace(source=SimpleNamespace(name=name), **given)


def _split(number: int, event_at: float) -> Split:
    return Split.of("s", {"n": number}, folder="f", records=10, bytes=100, event_at=event_at, planned_at=event_at)


def _gauges(planner: Any) -> tuple[Metrics, Backlog, Gauges]:
    metrics = Metrics(["s"], "M")
    backlog = Backlog(10**6, 1, 10)
    gauges = Gauges(metrics, backlog, [planner], ActorTime(metrics), [["read", "infer", "write"]])
    metrics.before_scrape(gauges.refresh)
    return metrics, backlog, gauges


def test_what_waits_and_what_is_in_flight() -> None:
    planner = _planner("s", status=SourceStatus(Lag(records=5, bytes=50, oldest=300.0, objects=5)))
    metrics, backlog, gauges = _gauges(planner)
    backlog.offer([_split(1, 200.0), _split(2, 100.0)])
    backlog.take(0)
    gauges.refresh()
    assert metrics.value(m.WAITING_SPLITS) == metrics.value(m.IN_FLIGHT_SPLITS) == 1
    assert (metrics.value(m.IN_FLIGHT_RECORDS), metrics.value(m.IN_FLIGHT_BYTES)) == (10, 100)
    assert metrics.value(m.PLANNED_RECORDS) == 10
    assert metrics.value(m.WAITING_OBJECTS, "s") == 5
    assert metrics.value(m.OLDEST_UNCOMMITTED_TIMESTAMP_SECONDS, "s") == 100.0
    assert math.isinf(metrics.value(m.DRAIN_ETA_SECONDS, "s"))
    gauges.settled(_split(3, 0.0))
    gauges.refresh()
    assert 0 < metrics.value(m.DRAIN_ETA_SECONDS, "s") < math.inf
    for split_id in (_split(1, 200.0).split_id, _split(2, 100.0).split_id):
        backlog.take(0)
        backlog.settle(split_id)
    planner.status = SourceStatus()
    gauges.refresh()
    assert metrics.value(m.OLDEST_UNCOMMITTED_TIMESTAMP_SECONDS, "s") == 0
    assert metrics.value(m.DRAIN_ETA_SECONDS, "s") == 0


def test_lag_of_each_partition_in_records_and_seconds_and_none_of_one_that_is_gone() -> None:
    partitions = [PartitionStatus("t", "0", 7, 10, time.time() - 60), PartitionStatus("t", "1", 10, 10)]
    planner = _planner("s", status=SourceStatus(partitions=partitions))
    metrics, _, gauges = _gauges(planner)
    gauges.refresh()
    assert [metrics.value(m.LAG_RECORDS, "s", "t", number) for number in "01"] == [3, 0]
    assert 60 <= metrics.value(m.LAG_SECONDS, "s", "t", "0") < 120
    assert metrics.value(m.LAG_SECONDS, "s", "t", "1") == 0
    assert metrics.value(m.POSITION_OFFSET, "s", "t", "0") == 7
    planner.status = SourceStatus(partitions=partitions[1:])
    gauges.refresh()
    assert list(metrics._made["lag_records"]._metrics) == [("s", "t", "1")]


@pytest.mark.parametrize(("trouble", "failure", "up"), [(None, None, 1), ("away", None, 0), (None, "gone", 0)])
def test_a_source_in_trouble_is_not_up(trouble: str | None, failure: str | None, up: int) -> None:
    metrics, _, gauges = _gauges(_planner("s", trouble=trouble, failure=failure))
    gauges.refresh()
    assert metrics.value(m.SOURCE_UP, "s") == up


def test_idle_time_is_counted_as_it_passes_and_not_again_when_a_worker_tells_of_it() -> None:
    metrics = Metrics()
    spent = ActorTime(metrics)
    spent.add_idle("read", 100.0)
    spent.add(Trail(seconds={"read": 2.0}, stalls={"read": (90.0, 1.0)}))
    spent.add(Trail(seconds={"read": 2.0}, stalls={"read": (15.0, 0.0)}))
    assert metrics.value(m.STAGE_IDLE_SECONDS, "read") == 105.0
    assert metrics.value(m.STAGE_BUSY_SECONDS, "read") == 4.0
    assert metrics.value(m.STAGE_BACKPRESSURED_SECONDS, "read") == 1.0
    spent.add_idle("read", 10.0)
    spent.forget()
    spent.add(Trail(stalls={"read": (10.0, 0.0)}))
    assert metrics.value(m.STAGE_IDLE_SECONDS, "read") == 125.0


def test_a_rate_forgets_what_is_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("stream_infer.driver.gauges.time", SimpleNamespace(monotonic=lambda: now[0]))
    rate = Rate()
    for _ in range(100):
        now[0] += 1
        rate.add(50)
    assert rate.eta(500) == pytest.approx(10.0)
    now[0] += 1000
    assert math.isinf(rate.eta(500))
    assert rate.eta(0) == 0.0


class _Slow:
    """A step that takes time; the first run of ``fails`` is met by a store that is away."""

    name = "read"
    demand = READ_DEMAND

    def __init__(self, clock: list[float], fails: int = 0) -> None:
        self._clock, self._fails = clock, fails

    def setup(self, devices: Sequence[str]) -> None:
        return

    def run(self, task: Task) -> Outcome:
        self._clock[0] += 3.0
        self._fails -= 1
        if self._fails >= 0:
            raise Retryable("away", dependency="store")
        return Done(task)


def _stage(monkeypatch: pytest.MonkeyPatch, clock: list[float], *stages: Any) -> tuple[Any, AttemptTracker]:
    tracker = AttemptTracker(starved=lambda _: False)
    call = {
        name: SimpleNamespace(remote=getattr(tracker, name)) for name in ("begin", "stall", "resume", "restart_clock")
    }
    stopped = SimpleNamespace(**dict.fromkeys(("time", "perf_counter", "monotonic"), lambda: clock[0]))
    here = SimpleNamespace(get_worker_id=lambda: "w")
    monkeypatch.setattr("stream_infer.worker.actor.time", stopped)
    monkeypatch.setattr(
        "stream_infer.worker.actor.ray", SimpleNamespace(get=lambda answer: answer, get_runtime_context=lambda: here)
    )
    return StageActor(stages, 0, SimpleNamespace(**call), 2, 1), tracker


def _through(stage: Any, ready_at: float, source: str = "s") -> Trail:
    split = Split.of(source, {"n": ready_at}, folder="f", records=1, bytes=1)
    return unpack(stage(pack(Done(Task(split, trail=Trail(ready_at=ready_at)))))).task.trail


def test_between_two_splits_an_actor_is_idle_until_one_is_ready_and_then_held_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [100.0]
    stage, _ = _stage(monkeypatch, clock, _Slow(clock))
    clock[0] = 110.0
    assert _through(stage, 0.0, PRIMING).stalls == {}  # its ten idle seconds are the next split's
    clock[0] = 120.0
    first = _through(stage, 117.0)
    assert first.stalls == {"read": (17.0, 3.0)}
    assert (first.timestamps["read"], first.seconds["read"], first.ready_at) == ((120.0, 123.0), 3.0, 123.0)
    clock[0] = 125.0
    assert _through(stage, 50.0).stalls == {"read": (0.0, 2.0)}  # it was ready all the time


def test_failures_outside_are_counted_where_everybody_can_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    stage, tracker = _stage(monkeypatch, clock, _Slow(clock, fails=2))
    _through(stage, 100.0)
    waiting, failures, deaths = tracker.report([])
    assert waiting == {}
    assert failures == {("read", "store"): 2}
    assert deaths == {}
