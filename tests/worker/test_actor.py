"""The stage actor with the real attempt tracker, committer and ledger, without Ray: deaths, stalls, retries."""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.config import CircuitBreakerLimits, Limits
from stream_infer.driver import drain
from stream_infer.driver.admission import Backlog
from stream_infer.driver.circuit_breaker import CircuitBreaker
from stream_infer.driver.committer import Committer
from stream_infer.driver.planner import Planner
from stream_infer.driver.sizing import SplitSizer
from stream_infer.errors import Retryable
from stream_infer.execution.attempts import AttemptTracker
from stream_infer.ledger import Ledger
from stream_infer.splits import Split
from stream_infer.stages import READ_DEMAND, WRITE_DEMAND, Stage
from stream_infer.tasks import Done, Held, Outcome, Task
from stream_infer.telemetry.metrics import Metrics
from stream_infer.testing import FolderSink, NumbersReader, NumbersSource
from stream_infer.worker import actor
from stream_infer.worker.envelope import pack, unpack


class _Death(BaseException):
    """The end of a worker's process: no handler of the actor may catch it."""


class _Deadly:
    """Reads numbers; some end the worker."""

    name = "read"
    demand = READ_DEMAND

    def __init__(self, bad: set[int]) -> None:
        self._bad = bad

    def setup(self, devices: Sequence[str]) -> None:
        return

    def run(self, task: Task) -> Outcome:
        if self._bad & set(range(task.split.bounds["start"], task.split.bounds["stop"])):
            raise _Death
        (piece,) = NumbersReader().read(task.split)
        return Done(replace(task, rows=piece.table))


class _Away:
    """Reads some numbers, then calls a dependency that does not answer, while the service begins to stop."""

    name = "read"
    demand = READ_DEMAND

    def __init__(self, tracker: AttemptTracker) -> None:
        self._tracker = tracker

    def setup(self, devices: Sequence[str]) -> None:
        return

    def run(self, task: Task) -> Outcome:
        (_,) = NumbersReader().read(task.split)
        self._tracker.close()
        raise Retryable("the broker is away", dependency="kafka")


class _Writing:
    name = "write"
    demand = WRITE_DEMAND

    def __init__(self, sink: FolderSink) -> None:
        self._sink = sink

    def setup(self, devices: Sequence[str]) -> None:
        return

    def run(self, task: Task) -> Outcome:
        return Done(replace(task, receipt=self._sink.write(task.split, task.rows, task.draft_receipt())))


class _Workers:
    """One worker after another on the splits of a backlog; a new one for each that died."""

    def __init__(self, folder: Path, numbers: int, bad: set[int], attempts: int) -> None:
        self.deaths = 0
        self.sink = FolderSink(folder / "out")
        self.ledger = Ledger.open(f"sqlite:///{folder}/ledger.db", {})
        self.ledger.acquire("test")
        self.stages: Sequence[Stage] = (_Deadly(bad), _Writing(self.sink))
        self.tracker, self._attempts = AttemptTracker(starved=lambda worker: False), attempts
        source = NumbersSource("numbers", numbers, most=numbers)
        backlog, sizer = Backlog(2**30, 64, 4), SplitSizer(numbers, fused=True)
        self.backlog = backlog
        circuit_breaker = CircuitBreaker(CircuitBreakerLimits())
        self.committer = Committer(
            self.ledger, self.sink, {"numbers": source}, backlog, {"numbers": sizer}, Metrics(), circuit_breaker
        )
        planner = Planner(source, self.ledger, backlog, sizer, Limits(split_records=numbers), "plan", True)
        planner._plan_once(1)

    def work(self) -> list[Outcome]:
        """The outcomes of all splits."""
        outcomes = []
        self.committer.start()
        while splits := self.backlog.take(0.0):
            for split in splits:
                outcomes.append(self.through(Task(split)))
                self.committer.outcomes.put(outcomes[-1])
            self.committer.outcomes.join()
        self.committer.finish()
        assert self.committer.failure is None
        return outcomes

    def through(self, task: Task) -> Outcome:
        envelope = pack(Done(task))
        while True:
            stage = actor.StageActor(self.stages, 0, _handle(self.tracker), self._attempts, 1)
            try:
                return unpack(stage(envelope))
            except _Death:
                self.deaths += 1


def _handle(tracker: AttemptTracker) -> Any:
    """The tracker as an actor's handle."""
    return mock.Mock(begin=SimpleNamespace(remote=tracker.begin), stall=SimpleNamespace(remote=tracker.stall))


@contextmanager
def _without_ray() -> Iterator[None]:
    numbers = itertools.count()
    context = SimpleNamespace(get_worker_id=lambda: f"worker-{next(numbers)}")
    fake = mock.Mock(get=lambda answer: answer, get_runtime_context=lambda: context)
    with mock.patch.object(actor, "ray", fake):
        yield


@settings(max_examples=12)
@given(st.data())
def test_a_killing_record_is_isolated_within_log2_n_and_attempts_deaths(data: st.DataObject) -> None:
    numbers = data.draw(st.one_of(st.integers(1, 40), st.integers(1, 300)))
    bad = data.draw(st.sets(st.integers(0, numbers - 1), min_size=1, max_size=2))
    attempts = data.draw(st.integers(1, 5))
    with tempfile.TemporaryDirectory() as folder, _without_ray():
        workers = _Workers(Path(folder), numbers, bad, attempts)
        workers.work()
        assert workers.deaths <= len(bad) * (math.ceil(math.log2(numbers)) + attempts)
        assert sum(workers.tracker.report([]).deaths.values()) == workers.deaths
        good = sorted(f"numbers/{number}" for number in range(numbers) if number not in bad)
        assert sorted(workers.sink.record_ids()) == good
        assert {reject.record_id for reject in workers.ledger.rejects()} == {f"numbers/{number}" for number in bad}
        assert workers.ledger.audit()["in_flight"] == 0
        workers.ledger.close()


def test_tries_that_failed_are_counted_in_the_trail() -> None:
    fails = [Retryable("away"), Retryable("away"), ValueError("odd")]

    class Failing:
        name = "read"
        demand = READ_DEMAND

        def setup(self, devices: Sequence[str]) -> None:
            return

        def run(self, task: Task) -> Outcome:
            if fails:
                raise fails.pop(0)
            return Done(task)

    with _without_ray():
        stage = actor.StageActor((Failing(),), 0, _handle(AttemptTracker(starved=lambda worker: False)), 3, 1)
        split = Split.of("s", {}, folder="f", records=1, bytes=1)
        assert unpack(stage(pack(Done(Task(split))))).task.trail.retries == 3


def test_splits_stay_planned_once_the_tracker_is_closed(tmp_path: Path) -> None:
    with _without_ray():
        workers = _Workers(tmp_path, 40, {7}, attempts=1)
        workers.tracker.close()
        workers.work()
    assert workers.deaths == 0
    assert workers.sink.record_ids() == []
    assert [split.records for split in workers.ledger.unfinished()] == [40]
    workers.ledger.close()


def test_nobody_waits_for_a_dependency_while_the_service_stops(tmp_path: Path) -> None:
    with _without_ray():
        workers = _Workers(tmp_path, 40, set(), attempts=1)
        workers.stages = (_Away(workers.tracker), _Writing(workers.sink))
        (out,) = workers.work()
    assert isinstance(out, Held)
    assert out.task.rows.num_rows == 0  # they need not travel
    assert workers.tracker.report([]).failures == {("read", "kafka"): 1}
    assert workers.sink.record_ids() == []
    assert [split.records for split in workers.ledger.unfinished()] == [40]
    workers.ledger.close()


def test_a_database_that_is_away_keeps_no_service_from_ending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "_STALL_SECONDS", 0.3)
    with _without_ray():
        workers = _Workers(tmp_path, 40, set(), attempts=1)
        monkeypatch.setattr(workers.ledger, "commit", mock.Mock(side_effect=Retryable("the database is away")))
        workers.committer.start()
        (split,) = workers.backlog.take(0.0)
        workers.committer.outcomes.put(workers.through(Task(split)))
        assert workers.committer.finish() == "the database is away"
    assert not workers.committer.is_alive()
    assert workers.committer.failure is None
    assert [split.records for split in workers.ledger.unfinished()] == [40]
    workers.ledger.close()
