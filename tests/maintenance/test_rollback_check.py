"""A ledger put back from a backup is older than its output: it must not go on as if nothing had been written since."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from stream_infer.connectors.parquet.settings import ParquetSettings
from stream_infer.connectors.parquet.sink import ParquetSink
from stream_infer.contracts import Planned
from stream_infer.errors import Fatal
from stream_infer.ledger import Ledger
from stream_infer.maintenance.rollback_check import refuse_older_ledger
from stream_infer.splits import Receipt, Split


def _work(ledger: Ledger, sink: ParquetSink, numbers: Sequence[int], source: str = "s") -> None:
    """Plan, write and commit a split for each number."""
    for number in numbers:
        day = time.strftime("date=%Y-%m-%d", time.gmtime())
        split = Split.of(source, {"number": number}, folder=day, records=1, bytes=1, planned_at=time.time())
        ledger.plan(source, [Planned(split)])
        receipt = Receipt(split.split_id, source, 1, split.bounds)
        ledger.commit([sink.write(split, pa.table({"number": [number]}), receipt)])


@pytest.fixture
def sink(tmp_path: Path) -> ParquetSink:
    return ParquetSink.from_config(ParquetSettings(url=f"file://{tmp_path}/out"))


def _open(file: Path) -> Ledger:
    ledger = Ledger.open(f"sqlite:///{file}", {})
    ledger.acquire("test")
    return ledger


def test_a_backup_older_than_the_output_is_refused(tmp_path: Path, sink: ParquetSink) -> None:
    ledger = _open(tmp_path / "ledger.db")
    _work(ledger, sink, range(3))
    with sqlite3.connect(tmp_path / "ledger.db") as live, sqlite3.connect(tmp_path / "old.db") as copy:
        live.backup(copy)
    refuse_older_ledger(_open(tmp_path / "old.db"), sink, ["s"])
    _work(ledger, sink, range(3, 5))
    refuse_older_ledger(ledger, sink, ["s"])
    with pytest.raises(Fatal, match="older than its output"):
        refuse_older_ledger(_open(tmp_path / "old.db"), sink, ["s"])
    with pytest.raises(Fatal, match="rebuild"):
        refuse_older_ledger(_open(tmp_path / "new.db"), sink, ["s"])


def test_files_of_others_in_the_same_folder_are_left_alone(tmp_path: Path, sink: ParquetSink) -> None:
    _work(_open(tmp_path / "theirs.db"), sink, range(3), "theirs")
    folder = next((tmp_path / "out").iterdir())
    (folder / f"{'0' * 32}.parquet").write_bytes(b"no Parquet file at all")
    refuse_older_ledger(_open(tmp_path / "ours.db"), sink, ["s"])
