"""How many workers must die to find a record that kills: the real stage, gate, committer and ledger, without Ray."""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.attempts import StageStart
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
from stream_infer.stages import Stage
from stream_infer.telemetry.metrics import Metrics
from stream_infer.testing import FolderSink, NumbersReader, NumbersSource
from stream_infer.worker import actor
from stream_infer.worker.task import Batch


class _Death(BaseException):
    """The end of a worker's process: no handler of the stage may see it."""


class _Deadly:
    """Reads numbers; some end the worker."""

    name = "read"

    def __init__(self, bad: set[int]) -> None:
        self._bad = bad

    def setup(self) -> None:
        return

    def run(self, batch: Batch) -> Batch:
        if self._bad & set(range(batch.split.bounds["start"], batch.split.bounds["stop"])):
            raise _Death
        (piece,) = NumbersReader().read(batch.split)
        batch.rows = piece.table
        return batch


class _Away:
    """Reads some numbers, then meets a dependency that is away, while the service begins to stop."""

    name = "read"

    def __init__(self, tracker: AttemptTracker) -> None:
        self._tracker = tracker

    def setup(self) -> None:
        return

    def run(self, batch: Batch) -> Batch:
        (piece,) = NumbersReader().read(batch.split)
        batch.rows = piece.table
        self._tracker.close()
        raise Retryable("the broker is away", dependency="kafka")


class _Writing:
    name = "write"

    def __init__(self, sink: FolderSink) -> None:
        self._sink = sink

    def setup(self) -> None:
        return

    def run(self, batch: Batch) -> Batch:
        batch.receipt = self._sink.write(batch.split, batch.rows, batch.to_receipt())
        return batch


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

    def work(self) -> list[Batch]:
        """What came of the splits."""
        outcomes = []
        self.committer.start()
        while splits := self.backlog.take(0.0):
            for split in splits:
                outcomes.append(self.through(Batch(split)))
                self.committer.outcomes.put(outcomes[-1])
            self.committer.outcomes.join()
        self.committer.finish()
        assert self.committer.failure is None
        return outcomes

    def through(self, batch: Batch) -> Batch:
        envelope = batch.to_envelope()
        while True:
            stage = actor.StageActor(self.stages, _handle(self.tracker), self._attempts, 1)
            try:
                return Batch.from_envelope(stage(envelope))
            except _Death:
                self.deaths += 1


def _handle(tracker: AttemptTracker) -> Any:
    """The gate as an actor's handle."""
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


def test_tries_that_failed_are_counted_in_the_batch() -> None:
    fails = [Retryable("away"), Retryable("away"), ValueError("odd")]

    class Failing:
        name = "read"

        def setup(self) -> None:
            return

        def run(self, batch: Batch) -> Batch:
            if fails:
                raise fails.pop(0)
            return batch

    with _without_ray():
        stage = actor.StageActor((Failing(),), _handle(_tracker()), 3, 1)
        split = Split.of("s", {}, folder="f", records=1, bytes=1)
        assert Batch.from_envelope(stage(Batch(split).to_envelope())).retries == 3


def _tracker(*starving: str) -> AttemptTracker:
    return AttemptTracker(starved=lambda worker: worker in starving)


def test_a_death_after_the_deadline_is_called_hanging_and_one_before_it_is_not() -> None:
    with mock.patch("stream_infer.execution.attempts.time") as clock:
        tracker = _tracker()
        clock.monotonic.return_value = 100.0
        tracker.begin("a", StageStart("infer", 1, deadline=10.0))
        clock.monotonic.return_value = 145.0  # it lived for 5 s; the next one needed 40 s to load its model
        assert tracker.begin("a", StageStart("infer", 1, deadline=10.0, up=40.0)).hung == 0.0
        clock.monotonic.return_value = 195.0
        assert tracker.begin("a", StageStart("infer", 1, deadline=10.0, up=40.0)).hung == 10.0
        clock.monotonic.return_value = 206.0  # another actor, there for long
        assert tracker.begin("a", StageStart("infer", 1, deadline=10.0, up=900.0)) == (3, 0, "infer", 10.0, False)
        assert tracker.report([]).deaths == {("infer", "died"): 1, ("infer", "hung"): 2}


def test_waiting_for_a_dependency_is_no_hanging() -> None:
    with mock.patch("stream_infer.execution.attempts.time") as clock:
        tracker = _tracker()
        clock.monotonic.return_value = 0.0
        tracker.begin("a", StageStart("read", 0, deadline=10.0))
        tracker.stall("a", "read: the broker is away")
        clock.monotonic.return_value = 500.0
        assert tracker.begin("a", StageStart("read", 0, deadline=10.0)).hung == 0.0
        tracker.stall("a", "read: the broker is away")
        clock.monotonic.return_value = 900.0
        tracker.restart_clock("a")
        clock.monotonic.return_value = 905.0
        assert tracker.begin("a", StageStart("read", 0, deadline=10.0)).hung == 0.0


def test_splits_that_meet_a_closed_gate_stay_planned(tmp_path: Path) -> None:
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
    assert out.held
    assert out.rows.num_rows == 0  # they need not travel
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
        workers.committer.outcomes.put(workers.through(Batch(split)))
        assert workers.committer.finish() == "the database is away"
    assert not workers.committer.is_alive()
    assert workers.committer.failure is None
    assert [split.records for split in workers.ledger.unfinished()] == [40]
    workers.ledger.close()


def test_workers_that_ray_ends_for_want_of_memory_hardly_count_against_a_record_alone() -> None:
    tracker = _tracker("w1", "w2", "w3", "w4")
    for worker in ("w1", "w2", "w3", "w4"):
        tracker.begin("a", StageStart("infer", 1, worker=worker))
    deaths = tracker.begin("a", StageStart("infer", 1, worker="w5"))
    assert (deaths.total, deaths.starved) == (4, 4)
    assert (deaths.charged(alone=False), deaths.charged(alone=True)) == (4, 1)
    assert tracker.begin("a", StageStart("infer", 1)).charged(alone=True) == 2  # w5 died of something else
    assert tracker.report([]).deaths == {("infer", "memory"): 4, ("infer", "died"): 1}
