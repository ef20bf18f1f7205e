"""What travels between stages comes out as it went in; failures stay with their rows."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.engine.batch import Batch
from stream_infer.engine.gate import AttemptGate, Start
from stream_infer.engine.isolate import isolate
from stream_infer.splits import Loss, Reject, Split

READ, INFER = Start("read", 0), Start("infer", 1)
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

    result, failures = isolate(double, pa.table({"n": pa.array(numbers, pa.int64())}))
    assert [index for index, _ in failures] == [index for index, number in enumerate(numbers) if number in bad]
    assert result.column("n").to_pylist() == [number * 2 for number in numbers if number not in bad]


def test_the_gate_tells_in_which_step_a_worker_died() -> None:
    gate = AttemptGate(starved=lambda worker: False)
    assert gate.begin("a", READ) == (0, 0, "read", 0.0, False)
    assert gate.begin("a", INFER).total == 0
    assert gate.begin("a", READ) == (1, 0, "infer", 0.0, False)
    assert gate.begin("a", INFER).total == 1
    assert gate.begin("a", INFER) == (2, 0, "infer", 0.0, False)
    gate.forget(["a"])
    assert gate.begin("a", READ).total == 0
