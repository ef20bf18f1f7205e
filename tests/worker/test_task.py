"""What travels between stages comes out as it went in; failures stay with their rows."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.attempts import StageStart
from stream_infer.execution.attempts import AttemptTracker
from stream_infer.splits import Loss, Reject, Split
from stream_infer.worker.bisect import bisect_failures
from stream_infer.worker.task import Batch

READ, INFER = StageStart("read", 0), StageStart("infer", 1)
SPLIT = Split.of("s", {"n": 1}, folder="f", records=1, bytes=1)


@given(st.lists(st.integers(-5, 5), max_size=20), st.text(max_size=5))
def test_an_envelope_comes_back(numbers: list[int], model: str) -> None:
    batch = Batch(SPLIT, pa.table({"n": pa.array(numbers, pa.int64())}), model=model, seconds={"read": 0.5})
    batch.rejects = [Reject("r", "s", "read", "E", "why", 1, 2.0)]
    batch.losses = [Loss("l", "s", "expired", 2)]
    back = Batch.from_envelope(batch.to_envelope())
    assert batch.to_envelope().num_rows == 1
    assert back.rows.equals(batch.rows)
    assert back.to_receipt() == batch.to_receipt()


@given(st.lists(st.integers(0, 30), max_size=60), st.sets(st.integers(0, 30)))
def test_exactly_the_raising_rows_are_left_out(numbers: list[int], bad: set[int]) -> None:
    def double(rows: pa.Table) -> pa.Table:
        values = rows.column("n").to_pylist()
        if bad & set(values):
            raise ValueError("bad")
        return pa.table({"n": [value * 2 for value in values]}, schema=rows.schema)

    result, failures = bisect_failures(double, pa.table({"n": pa.array(numbers, pa.int64())}))
    assert [index for index, _ in failures] == [index for index, number in enumerate(numbers) if number in bad]
    assert result.column("n").to_pylist() == [number * 2 for number in numbers if number not in bad]


def test_a_worker_that_was_only_taken_for_dead_is_not_counted_again_and_again() -> None:
    tracker = AttemptTracker(starved=lambda worker: False)
    steps = [StageStart(step, order) for order, step in enumerate(("read", "infer", "write"))]
    zombie, successor = ([start._replace(worker=name) for start in steps] for name in ("zombie", "successor"))
    assert tracker.begin("a", zombie[0]).total == 0
    assert tracker.begin("a", successor[0]).total == 1
    for mine, theirs in zip(zombie[1:], successor[1:], strict=True):
        assert tracker.begin("a", mine).total == 1
        assert tracker.begin("a", theirs).total == 1
    assert tracker.begin("a", steps[0]._replace(worker="third")) == (2, 0, "write", 0.0, False)


def test_a_result_that_was_lost_is_no_death_of_the_worker_that_makes_it_again() -> None:
    tracker = AttemptTracker(starved=lambda worker: False)
    for _ in range(5):
        assert tracker.begin("a", READ._replace(worker="w")).total == 0


def test_the_gate_tells_in_which_step_a_worker_died() -> None:
    tracker = AttemptTracker(starved=lambda worker: False)
    assert tracker.begin("a", READ) == (0, 0, "read", 0.0, False)
    assert tracker.begin("a", INFER).total == 0
    assert tracker.begin("a", READ) == (1, 0, "infer", 0.0, False)
    assert tracker.begin("a", INFER).total == 1
    assert tracker.begin("a", INFER) == (2, 0, "infer", 0.0, False)
    tracker.report(["a"])
    assert tracker.begin("a", READ).total == 0
