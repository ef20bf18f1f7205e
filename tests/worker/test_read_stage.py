"""What a split may take when decoded is bounded, whatever its input's size said."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from stream_infer.contracts import Piece
from stream_infer.errors import Oversized
from stream_infer.splits import Split
from stream_infer.tasks import Done, Task
from stream_infer.worker.envelope import pack, unpack
from stream_infer.worker.stages import ReadStage

MOST = 1000


class Growing:
    """A reader of tables of 400 bytes each; counts what it gave."""

    def __init__(self, tables: int) -> None:
        self._tables = tables
        self.given = 0

    def read(self, split: Split) -> Iterator[Piece]:
        for _ in range(self._tables):
            self.given += 1
            yield Piece(pa.table({"record_id": pa.array(["i" * 42] * 8).cast(pa.binary()).cast(pa.string())}))


class Plain:
    """A model that prepares nothing."""

    reads = None

    def prepare(self, records: pa.Table) -> pa.Table:
        return records


def _read(reader: Growing) -> Task:
    stage = ReadStage({"s": reader}, None, [Plain()], (), (), MOST)  # type: ignore[list-item, dict-item]
    split = Split.of("s", {}, folder="f", records=1, bytes=1)
    outcome = stage.run(Task(split))
    assert isinstance(outcome, Done)
    return outcome.task


def test_a_split_knows_when_its_oldest_record_came_to_be() -> None:
    class Dated(Growing):
        def read(self, split: Split) -> Iterator[Piece]:
            for seconds in ([30, None], [20, 40]):
                moments = pa.array([None if each is None else each * 1_000_000 for each in seconds])
                columns = {"event_time": moments.cast(pa.timestamp("us", tz="UTC")), "record_id": ["a", "b"]}
                yield Piece(pa.table(columns))

    task = _read(Dated(1))
    assert task.trail.oldest == 20.0
    assert unpack(pack(Done(task))).task.trail.oldest == 20.0
    assert _read(Growing(1)).trail.oldest is None
    assert _read(Growing(0)).trail.oldest is None


def test_a_split_within_the_limit_is_read_whole() -> None:
    assert _read(Growing(2)).rows.num_rows == 16


def test_a_split_that_grows_beyond_the_limit_is_given_up_before_the_rest_is_read() -> None:
    reader = Growing(100)
    with pytest.raises(Oversized, match=r"limits\.decoded"):
        _read(reader)
    assert reader.given == 3
