"""An outcome comes out of its envelope as it went in."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.splits import Loss, Receipt, Reject, Split
from stream_infer.tasks import Done, Failed, Held, Outcome, Poisoned, Task, Trail
from stream_infer.worker.envelope import ENVELOPE, pack, unpack

NUMBERS = st.floats(0, 1e12)
TEXTS = st.text(max_size=5)
PAIRS = st.dictionaries(st.sampled_from(["read", "infer:a", "write"]), st.tuples(NUMBERS, NUMBERS))
REJECTS = st.builds(Reject, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, st.integers(1, 9), NUMBERS, st.booleans())
LOSSES = st.builds(Loss, TEXTS, TEXTS, st.just("expired"), st.integers(1, 9))
SPLITS = st.builds(
    Split.of, TEXTS, st.fixed_dictionaries({"n": st.integers(0, 9)}), folder=TEXTS, records=st.just(1), bytes=st.just(1)
)
TRAILS = st.builds(
    Trail,
    seconds=st.dictionaries(TEXTS, NUMBERS, max_size=2),
    timestamps=PAIRS,
    stalls=PAIRS,
    ready_at=NUMBERS,
    deaths=st.integers(0, 5),
    retries=st.integers(0, 5),
    oldest=st.none() | NUMBERS,
    origins=st.lists(TEXTS, max_size=2).map(tuple),
    more_origins=st.integers(0, 5),
)
RECEIPTS = st.builds(
    Receipt, TEXTS, TEXTS, st.just(1), st.just({"n": 1}), rejects=st.lists(REJECTS, max_size=1).map(tuple)
)
TASKS = st.builds(
    Task,
    SPLITS,
    st.lists(st.integers(-5, 5), max_size=20).map(lambda numbers: pa.table({"n": pa.array(numbers, pa.int64())})),
    deadline=st.none() | NUMBERS,
    rejects=st.lists(REJECTS, max_size=2).map(tuple),
    losses=st.lists(LOSSES, max_size=2).map(tuple),
    received=st.none() | st.integers(0, 9),
    bytes_in=st.integers(0, 9),
    answers=st.lists(TEXTS, max_size=2).map(tuple),
    inferences=st.integers(0, 9),
    batches=st.integers(0, 9),
    cost=NUMBERS,
    padding=st.floats(0, 1),
    model=TEXTS,
    receipt=st.none() | RECEIPTS,
    trail=TRAILS,
)
OUTCOMES: st.SearchStrategy[Outcome] = (
    st.builds(Done, TASKS)
    | st.builds(Held, TASKS)
    | st.builds(Failed, TASKS, TEXTS)
    | st.builds(Poisoned, TASKS, REJECTS)
)


@given(OUTCOMES)
def test_an_outcome_comes_back(outcome: Outcome) -> None:
    envelope = pack(outcome)
    assert (envelope.schema, envelope.num_rows) == (ENVELOPE, 1)
    back = unpack(envelope)
    rows, carried = back.task.rows, isinstance(outcome, Done) and outcome.task.receipt is None
    assert rows.num_rows == (outcome.task.rows.num_rows if carried else 0)
    assert not carried or rows.equals(outcome.task.rows)
    assert type(back) is type(outcome)
    assert replace(back, task=replace(back.task, rows=outcome.task.rows)) == outcome


def test_metadata_of_the_rows_stay() -> None:
    rows = pa.table({"n": [1]}).replace_schema_metadata({"mine": "1"})
    split = Split.of("s", {"n": 1}, folder="f", records=1, bytes=1)
    assert unpack(pack(Done(Task(split, rows)))).task.rows.schema.metadata == {b"mine": b"1"}
