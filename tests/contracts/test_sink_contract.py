"""What every sink promises: the first file that takes a name wins, for ever, with its receipt inside."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from stream_infer import config
from stream_infer.connectors.parquet import ParquetSink
from stream_infer.errors import ConfigError
from stream_infer.records import RECORD_FIELDS
from stream_infer.splits import Receipt, Split
from stream_infer.worker.stages import stamped


@pytest.fixture(params=["disk", "s3"])
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> ParquetSink:
    if request.param == "disk":
        return ParquetSink.from_config(config.ParquetSink(url=str(tmp_path / "out")))
    storage: config.Storage = request.getfixturevalue("s3")
    bucket: Callable[[], str] = request.getfixturevalue("s3_bucket")
    return ParquetSink.from_config(config.ParquetSink(url=f"s3://{bucket()}/out", storage=storage))


def _split() -> Split:
    return Split.of("s", {"n": uuid.uuid4().hex}, folder="date=2026-01-01", records=1, bytes=1)


def _write(sink: ParquetSink, split: Split, attempt: int = 1, rows: int = 1) -> Receipt:
    records = pa.Table.from_pylist(
        [{"record_id": f"r/{number}", "source": "s"} for number in range(rows)], schema=pa.schema(RECORD_FIELDS)
    )
    receipt = Receipt(split.split_id, "s", attempt, split.bounds, model="m@1")
    return sink.write(split, stamped(records, split.split_id, "m@1"), receipt)


def test_the_first_file_wins_and_later_attempts_adopt_its_receipt(sink: ParquetSink) -> None:
    split = _split()
    assert sink.find(split) is None
    first = _write(sink, split, attempt=1, rows=3)
    second = _write(sink, split, attempt=2, rows=5)
    assert first == second == sink.find(split)
    assert (first.rows, first.attempt, first.bytes_out > 0) == (3, 1, True)
    assert [receipt.split_id for receipt in sink.receipts()] == [split.split_id]


def test_sixteen_writers_one_file(sink: ParquetSink) -> None:
    split = _split()
    with ThreadPoolExecutor(16) as pool:
        receipts = list(pool.map(lambda attempt: _write(sink, split, attempt), range(16)))
    assert len({receipt.attempt for receipt in receipts}) == 1
    assert [receipt.rows for receipt in sink.receipts()] == [1]


def test_a_write_and_a_retirement_race_and_one_of_them_stands(sink: ParquetSink) -> None:
    for _ in range(8):
        split = _split()
        with ThreadPoolExecutor(8) as pool:
            writes = [pool.submit(_write, sink, split, attempt) for attempt in range(4)]
            retirements = [pool.submit(sink.retire, split) for _ in range(4)]
        stands = sink.find(split)
        assert stands is not None
        assert all(write.result() == stands for write in writes)
        answer = None if stands.retired else stands
        assert all(retirement.result() == answer for retirement in retirements)


def test_a_listing_shows_nothing_half_done(sink: ParquetSink) -> None:
    splits = [_split() for _ in range(20)]
    with ThreadPoolExecutor(4) as pool:
        writes = [pool.submit(_write, sink, split, rows=3) for split in splits]
        while not all(write.done() for write in writes):
            for item, receipt, rows in sink.listing():
                assert item.key.endswith(".parquet")
                assert receipt is not None
                assert rows == receipt.rows == 3
    assert {receipt.split_id for receipt in sink.receipts()} == {split.split_id for split in splits}


def test_a_retired_name_can_never_be_written(sink: ParquetSink) -> None:
    split = _split()
    assert sink.retire(split) is None
    assert sink.retire(split) is None
    assert _write(sink, split).retired
    found = sink.find(split)
    assert found is not None
    assert (found.retired, found.rows) == (True, 0)


def test_a_real_file_is_never_retired(sink: ParquetSink) -> None:
    split = _split()
    written = _write(sink, split)
    assert sink.retire(split) == written


def test_no_row_needs_no_file(sink: ParquetSink) -> None:
    split = _split()
    assert _write(sink, split, rows=0).file is None
    assert list(sink.receipts()) == []


def test_a_store_that_cannot_choose_one_winner_is_refused() -> None:
    with pytest.raises(ConfigError, match="single_writer"):
        ParquetSink.from_config(config.ParquetSink(url="ftp://host/x"))
