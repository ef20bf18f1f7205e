"""Failures stay with the rows that cause them."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.worker.bisect import bisect_failures


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
