"""The attempt tracker tells deaths from lost results, hanging from waiting, and starvation from crashes."""

from __future__ import annotations

from unittest import mock

from stream_infer.attempts import StageStart
from stream_infer.execution.attempts import AttemptTracker

READ, INFER = StageStart("read", 0), StageStart("infer", 1)


def _tracker(*starving: str) -> AttemptTracker:
    return AttemptTracker(starved=lambda worker: worker in starving)


def test_a_worker_that_was_only_taken_for_dead_is_not_counted_again_and_again() -> None:
    tracker = _tracker()
    stages = [StageStart(stage, order) for order, stage in enumerate(("read", "infer", "write"))]
    zombie, successor = ([start._replace(worker=name) for start in stages] for name in ("zombie", "successor"))
    assert tracker.begin("a", zombie[0]).total == 0
    assert tracker.begin("a", successor[0]).total == 1
    for mine, theirs in zip(zombie[1:], successor[1:], strict=True):
        assert tracker.begin("a", mine).total == 1
        assert tracker.begin("a", theirs).total == 1
    assert tracker.begin("a", stages[0]._replace(worker="third")) == (2, 0, "write", 0.0, False)


def test_a_result_that_was_lost_is_no_death_of_the_worker_that_makes_it_again() -> None:
    tracker = _tracker()
    for _ in range(5):
        assert tracker.begin("a", READ._replace(worker="w")).total == 0


def test_a_death_is_charged_to_the_stage_in_which_the_worker_died() -> None:
    tracker = _tracker()
    assert tracker.begin("a", READ) == (0, 0, "read", 0.0, False)
    assert tracker.begin("a", INFER).total == 0
    assert tracker.begin("a", READ) == (1, 0, "infer", 0.0, False)
    assert tracker.begin("a", INFER).total == 1
    assert tracker.begin("a", INFER) == (2, 0, "infer", 0.0, False)
    tracker.report(["a"])
    assert tracker.begin("a", READ).total == 0


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


def test_workers_that_ray_ends_for_want_of_memory_hardly_count_against_a_record_alone() -> None:
    tracker = _tracker("w1", "w2", "w3", "w4")
    for worker in ("w1", "w2", "w3", "w4"):
        tracker.begin("a", StageStart("infer", 1, worker=worker))
    deaths = tracker.begin("a", StageStart("infer", 1, worker="w5"))
    assert (deaths.total, deaths.starved) == (4, 4)
    assert (deaths.charged(alone=False), deaths.charged(alone=True)) == (4, 1)
    assert tracker.begin("a", StageStart("infer", 1)).charged(alone=True) == 2  # w5 died of something else
    assert tracker.report([]).deaths == {("infer", "memory"): 4, ("infer", "died"): 1}
