"""What an error of a micro-batch means: rows stand alone, memory is halved, a dead device ends the process."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.config import Batch
from stream_infer.errors import Fatal, Retryable
from stream_infer.models.batching import ON_A_DEVICE, ON_CPUS, _worthwhile, micro_batches, run_batched


class OutOfMemoryError(RuntimeError):
    """Named as torch names it."""


class Scripted:
    """Gives back ``row``; raises what it is told for a batch."""

    identity = "scripted@0"
    reads: frozenset[str] | None = None
    weights: int | None = None

    def __init__(self, error: Exception | None = None, most: int = 10**9) -> None:
        self.error = error
        self.most = most
        self.sizes: list[int] = []

    def prepare(self, records: pa.Table) -> pa.Table:
        return records

    def load(self, device: str) -> None:
        return

    def cost(self, prepared: pa.Table) -> np.ndarray:
        return prepared.column("cost").to_numpy()

    def infer(self, batch: pa.Table) -> pa.Table:
        if batch.num_rows > self.most:
            raise OutOfMemoryError("CUDA out of memory")
        if self.error is not None:
            raise self.error
        self.sizes.append(batch.num_rows)
        return pa.table({"out": batch.column("row")})


def _table(costs: list[float]) -> pa.Table:
    return pa.table({"row": pa.array(range(len(costs)), pa.int64()), "cost": pa.array(costs, pa.float64())})


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60), st.integers(1, 7))
def test_too_little_memory_halves_batches_and_loses_nothing(costs: list[float], most: int) -> None:
    model = Scripted(most=most)
    inferred = run_batched(model, _table(costs), Batch(tokens=10_000, rows=32))
    assert inferred.columns.column("out").to_pylist() == list(range(len(costs)))
    assert inferred.rejects == []
    assert max(model.sizes) <= most
    assert inferred.batches == len(model.sizes)
    assert 0 <= inferred.padding < 1


@pytest.mark.parametrize("error", [Retryable("later"), Fatal("stop"), RuntimeError("CUDA error: device-side assert")])
def test_errors_that_say_nothing_of_a_row_pass(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        run_batched(Scripted(error), _table([1, 1, 1]), Batch())


def test_a_rejected_error_holds_no_batch_alive() -> None:
    inferred = run_batched(Scripted(ValueError("no")), _table([1, 2]), Batch())
    assert [index for index, _ in inferred.rejects] == [0, 1]
    assert all(error.__traceback__ is None for _, error in inferred.rejects)
    assert inferred.columns.num_rows == len(inferred.kept) == 0


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), -1.0])
def test_a_cost_that_is_none_is_the_models_fault(cost: float) -> None:
    with pytest.raises(Fatal, match="cost"):
        run_batched(Scripted(), _table([1.0, cost]), Batch())


def test_padding_is_the_share_paid_for_nothing() -> None:
    inferred = run_batched(Scripted(), _table([4, 2, 2]), Batch(tokens=1000))
    assert inferred.padding == pytest.approx(1 - 8 / 12)


def test_nothing_is_nothing() -> None:
    assert run_batched(Scripted(), _table([]), Batch()).batches == 0


def test_a_micro_batch_ends_before_it_is_mostly_padding() -> None:
    long, short = [250.0] * 10, [20.0] * 300
    costs = np.array(long + short)
    assert 10 <= _worthwhile(costs, 0.1, 2048) <= 12
    assert _worthwhile(costs, 0.1, 10**6) == len(costs)
    assert _worthwhile(np.ones(50), 0.1, 1) == 50


def test_on_cpus_calls_are_cheaper_than_padding() -> None:
    costs = np.linspace(256, 8, 36)
    paid = {
        cut: sum(costs[start] * (stop - start) for start, stop in micro_batches(costs, Batch(), cut))
        for cut in (ON_CPUS, ON_A_DEVICE)
    }
    assert costs.sum() < paid[ON_CPUS] < 1.15 * costs.sum() < paid[ON_A_DEVICE]


def test_the_budget_is_smaller_on_cpus_unless_the_settings_name_one() -> None:
    costs = np.full(500, 128.0)
    for batch, cut, most in ((Batch(), ON_CPUS, 32), (Batch(), ON_A_DEVICE, 128), (Batch(tokens=256), ON_CPUS, 2)):
        assert max(stop - start for start, stop in micro_batches(costs, batch, cut)) == most
