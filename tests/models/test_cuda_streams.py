"""A micro-batch is begun before the answer to the one before is waited for, and failures of either half are halved."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from stream_infer.config import Batch
from stream_infer.errors import Fatal
from stream_infer.models.batching import run_batched

_VECTOR = pa.list_(pa.float32(), 2)


class Ahead:
    """Gives back ``row``; keeps what was begun (``b``) and answered (``a``), and fails for row ``bad`` as told."""

    identity = "ahead@0"
    reads: frozenset[str] | None = None
    weights: int | None = None

    def __init__(self, bad: int = -1, *, late: bool = False) -> None:
        self.bad = bad
        self.late = late
        self.calls: list[str] = []
        self.flying = 0
        self.most = 0

    def warm(self) -> None:
        return

    def prepare(self, records: pa.Table) -> pa.Table:
        return records

    def load(self, device: str) -> None:
        return

    def cost(self, prepared: pa.Table) -> np.ndarray:
        return np.ones(prepared.num_rows)

    def infer(self, batch: pa.Table) -> pa.Table:
        return self.begin(batch)()

    def begin(self, batch: pa.Table) -> Callable[[], pa.Table]:
        fails = self.bad in batch.column("row").to_pylist()
        if fails and not self.late:
            raise ValueError("bad")
        self.flying += 1
        self.most = max(self.most, self.flying)
        self.calls.append("b")

        def answer() -> pa.Table:
            self.flying -= 1
            self.calls.append("a")
            if fails:
                raise ValueError("bad")
            return pa.table({"out": batch.column("row")})

        return answer


def _rows(count: int) -> pa.Table:
    return pa.table({"row": pa.array(range(count), pa.int64())})


def test_the_next_micro_batch_is_begun_before_the_answer_is_waited_for() -> None:
    model = Ahead()
    inferred = run_batched(model, _rows(6), Batch(rows=2))
    assert "".join(model.calls) == "bbabaa"
    assert model.most == 2
    assert inferred.columns.column("out").to_pylist() == list(range(6))


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("bad", range(7))
def test_a_row_that_fails_in_either_half_is_rejected_alone(bad: int, late: bool) -> None:
    inferred = run_batched(Ahead(bad, late=late), _rows(7), Batch(rows=3))
    assert [index for index, _error in inferred.rejects] == [bad]
    assert inferred.columns.column("out").to_pylist() == [row for row in range(7) if row != bad]
    assert inferred.kept.tolist() == inferred.columns.column("out").to_pylist()


class Vectors(Ahead):
    """Answers with vectors; for row ``odd`` with another answer."""

    def __init__(self, odd: int = -1, other: pa.Array | None = None, bad: int = -1) -> None:
        super().__init__(bad, late=True)
        self.odd = odd
        self.other = other

    def cost(self, prepared: pa.Table) -> np.ndarray:
        return np.asarray(prepared.column("row").to_numpy() * 7 % 5 + 1.0)

    def begin(self, batch: pa.Table) -> Callable[[], pa.Table]:
        answer = super().begin(batch)

        def vectors() -> pa.Table:
            rows = answer().column("out").to_pylist()
            own = pa.array([[row, -row] for row in rows], _VECTOR)
            return pa.table({"out": self.other if self.odd in rows else own})

        return vectors


def test_vectors_come_back_in_the_order_of_their_rows() -> None:
    inferred = run_batched(Vectors(), _rows(11), Batch(rows=2))
    assert inferred.columns.column("out").to_pylist() == [[row, -row] for row in range(11)]
    assert inferred.columns.schema.field("out").type == pa.list_(pa.float32(), 2)


def test_vectors_of_rows_that_failed_are_left_out() -> None:
    inferred = run_batched(Vectors(bad=4), _rows(11), Batch(rows=2))
    assert inferred.columns.column("out").to_pylist() == [[row, -row] for row in range(11) if row != 4]
    assert inferred.kept.tolist() == [row for row in range(11) if row != 4]


def test_vectors_and_nulls_mix() -> None:
    inferred = run_batched(Vectors(3, pa.array([None], _VECTOR)), _rows(6), Batch(rows=1))
    assert inferred.columns.column("out").to_pylist() == [None if row == 3 else [row, -row] for row in range(6)]


def test_vectors_that_become_text_are_the_models_fault() -> None:
    with pytest.raises(Fatal, match="change type between micro-batches"):
        run_batched(Vectors(3, pa.array(["text"])), _rows(6), Batch(rows=1))
