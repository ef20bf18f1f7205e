"""What a split may take when decoded is bounded, whatever its input's size said."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from stream_infer.contracts import Piece
from stream_infer.errors import Oversized
from stream_infer.splits import Split
from stream_infer.worker.stages import ReadStage
from stream_infer.worker.task import Batch

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


def _read(reader: Growing) -> Batch:
    step = ReadStage({"s": reader}, None, Plain(), (), (), MOST)  # type: ignore[arg-type, dict-item]
    split = Split.of("s", {}, folder="f", records=1, bytes=1)
    return step.run(Batch(split))


def test_a_split_knows_when_its_oldest_record_came_to_be() -> None:
    class Dated(Growing):
        def read(self, split: Split) -> Iterator[Piece]:
            for seconds in ([30, None], [20, 40]):
                moments = pa.array([None if each is None else each * 1_000_000 for each in seconds])
                columns = {"event_time": moments.cast(pa.timestamp("us", tz="UTC")), "record_id": ["a", "b"]}
                yield Piece(pa.table(columns))

    batch = _read(Dated(1))
    assert batch.oldest == 20.0
    assert Batch.from_envelope(batch.to_envelope()).oldest == 20.0
    assert _read(Growing(1)).oldest is None
    assert _read(Growing(0)).oldest is None


def test_a_split_within_the_limit_is_read_whole() -> None:
    assert _read(Growing(2)).rows.num_rows == 16


def test_a_split_that_grows_beyond_the_limit_is_given_up_before_the_rest_is_read() -> None:
    reader = Growing(100)
    with pytest.raises(Oversized, match=r"limits\.decoded"):
        _read(reader)
    assert reader.given == 3
