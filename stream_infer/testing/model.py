"""The suite of models: one answer for each record, in order, the same in every process."""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from stream_infer.config import Batch
from stream_infer.contracts import Model
from stream_infer.errors import Fatal
from stream_infer.records import RECORD_COLUMNS, RESERVED
from stream_infer.testing.checks import require

_TOLERANCE = 1e-4  # of a float, relative: sums in another order


def check_model(make: Callable[[], Model], records: pa.Table) -> None:
    """Hold a model against the promises of `contracts.Model`.

    Args:
        make: builds the model, which has loaded nothing yet.
        records: a table as a reader gives it, of two good records or more.

    Raises:
        AssertionError: a promise is broken; the sentence says which.
    """
    _identity_names_what_answers(make)
    model = make()
    model.warm()
    prepared = model.prepare(records)
    _prepare_keeps_the_records(records, prepared)
    model.load(["cpu"])
    answers = _answers(model, prepared)
    _one_answer_a_record(answers, records)
    _answers_do_not_depend_on_neighbours(model, prepared, answers)
    _columns_that_are_read_suffice(model, prepared, answers)
    _pickled_model_answers_the_same(make(), records, answers)


def _identity_names_what_answers(make: Callable[[], Model]) -> None:
    identity = make().identity
    require(re.fullmatch(r"[^@\s]+@[^@\s]+", identity), f"identity is {identity!r}; write NAME@DIGEST")
    require(make().identity == identity, "two models of the same settings have different identities")


def _prepare_keeps_the_records(records: pa.Table, prepared: pa.Table) -> None:
    require(prepared.num_rows == records.num_rows, "prepare() changes the number of rows")
    for name in RECORD_COLUMNS:
        if name in records.column_names:
            require(name in prepared.column_names, f"prepare() drops provenance column {name}")
            require(prepared.column(name).equals(records.column(name)), f"prepare() changes column {name} or its order")


def _answers(model: Model, prepared: pa.Table) -> pa.Table:
    """The model's columns for the prepared rows, all of which are good."""
    try:
        inferred = model.run(prepared, Batch())
    except Fatal as error:
        raise AssertionError(f"run() fails: {error}") from error
    require(not inferred.rejects, f"run() rejects a good row: {inferred.rejects[:1]}")
    require(list(inferred.kept) == list(range(prepared.num_rows)), "kept does not name all rows, or not in order")
    require(math.isfinite(inferred.cost) and inferred.cost >= 0, f"cost is {inferred.cost}; a finite number is right")
    require(0 <= inferred.padding <= 1, f"padding is {inferred.padding}; a share of the cost is right")
    return inferred.columns


def _one_answer_a_record(answers: pa.Table, records: pa.Table) -> None:
    require(answers.num_rows == records.num_rows, f"{records.num_rows} records got {answers.num_rows} answers")
    require(answers.num_columns > 0, "the answers have no column")
    reserved = sorted(RESERVED & set(answers.column_names))
    require(not reserved, f"answers have column {reserved[:1]}, which is a provenance column's name")


def _answers_do_not_depend_on_neighbours(model: Model, prepared: pa.Table, answers: pa.Table) -> None:
    for row in range(prepared.num_rows):
        alone = _answers(model, prepared.slice(row, 1))
        require(
            _alike(alone, answers.slice(row, 1)),
            f"row {row} alone gets another answer than among others: rows are mixed up, or an answer depends on a batch",
        )


def _columns_that_are_read_suffice(model: Model, prepared: pa.Table, answers: pa.Table) -> None:
    if model.reads is None:
        return
    missing = model.reads - set(prepared.column_names)
    require(not missing, f"reads names column {sorted(missing)[:1]}, which a prepared table does not have")
    kept = prepared.select([name for name in prepared.column_names if name in model.reads])
    require(_alike(_answers(model, kept), answers), "the columns that reads names do not suffice for the same answers")


def _pickled_model_answers_the_same(model: Model, records: pa.Table, answers: pa.Table) -> None:
    copy: Model = pickle.loads(pickle.dumps(model))
    require(copy.identity == model.identity, "a pickled copy of the model has another identity")
    copy.warm()
    prepared = copy.prepare(records)
    copy.load(["cpu"])
    require(
        _alike(_answers(copy, prepared), answers), "a pickled copy of the model, as actors get it, answers otherwise"
    )


def _alike(one: pa.Table, other: pa.Table) -> bool:
    """Whether two tables hold the same values, floats to within a tolerance."""
    if one.column_names != other.column_names or one.num_rows != other.num_rows:
        return False
    return all(
        _close(left, right)
        for name in one.column_names
        for left, right in zip(one.column(name).to_pylist(), other.column(name).to_pylist(), strict=True)
    )


def _close(one: object, other: object) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_close, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return bool(np.isclose(one, other, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True))
    return one == other
