"""The order of effects that no crash of a process shows: what a power cut, a late reply or another version would."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from stream_infer import config
from stream_infer.connectors.files.after import after_action
from stream_infer.connectors.files.settings import FilesSettings
from stream_infer.connectors.parquet.settings import ParquetSettings
from stream_infer.connectors.parquet.sink import ParquetSink
from stream_infer.connectors.storage.local import LocalStore
from stream_infer.contracts import Planned
from stream_infer.driver.admission import Backlog
from stream_infer.driver.planner import Planner
from stream_infer.driver.sizing import SplitSizer
from stream_infer.errors import Retryable
from stream_infer.ledger import Ledger
from stream_infer.ledger.store import connect, parse_url
from stream_infer.splits import Receipt, Split
from stream_infer.testing import NumbersSource


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    opened = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", {})
    opened.acquire("test")
    return opened


def _split(number: int = 0) -> Split:
    return Split.of("numbers", {"n": number}, folder="date=2026-01-01", records=1, bytes=1)


def test_a_commit_is_on_the_disk_when_it_returns(tmp_path: Path) -> None:
    engine = connect(parse_url(f"sqlite:///{tmp_path}/ledger.db"), 1.0)
    with engine.connect() as connection:
        full = 2
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == full
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_content_then_name_then_folder_reach_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    effects: list[str] = []
    fsync, link, mkdir = os.fsync, os.link, os.mkdir

    def noted_fsync(handle: int) -> None:
        name = Path(os.readlink(f"/proc/self/fd/{handle}")).name
        effects.append("content" if name.endswith(".tmp") else f"folder {name}")
        fsync(handle)

    def noted_link(source: bytes, target: bytes) -> None:
        effects.append("name")
        link(source, target)

    def noted_mkdir(path: bytes) -> None:
        effects.append(f"made {Path(os.fsdecode(path)).name}")
        mkdir(path)

    store = LocalStore(str(tmp_path / "out"))
    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "link", noted_link)
    monkeypatch.setattr(os, "mkdir", noted_mkdir)
    assert store.create(f"{store.root}/day/file", b"content")
    made = ["made out", f"folder {tmp_path.name}", "made day", "folder out"]
    assert effects == [*made, "content", "name", "folder day"]


def test_of_two_receipts_in_one_commit_the_first_wins(ledger: Ledger) -> None:
    split = _split()
    ledger.plan("numbers", [Planned(split)])
    first = Receipt(split.split_id, "numbers", 1, split.bounds, rows=1, file="f")
    assert [done.split_id for done in ledger.commit([first, replace(first, rows=7)])] == [split.split_id]
    assert ledger.audit()["committed"] == 1


def test_an_attempt_that_has_no_rows_left_adopts_the_file_of_an_earlier_one(tmp_path: Path) -> None:
    sink = ParquetSink.from_config(ParquetSettings(url=str(tmp_path / "out")))
    split = _split()
    receipt = Receipt(split.split_id, "numbers", 1, split.bounds)
    written = sink.write(split, pa.table({"label": ["a"]}), receipt)
    assert sink.write(split, pa.table({"label": pa.array([], pa.string())}), receipt) == written


class Away(NumbersSource):
    """Its outside does not answer when it is told of commits."""

    def committed(self, *_: object) -> None:
        raise Retryable("the store is away")


def test_what_a_source_could_not_do_is_told_to_it_again(ledger: Ledger) -> None:
    source = Away("numbers", 1)
    backlog, sizer = Backlog(10**6, 100, 100), SplitSizer(10, fused=False)
    planner = Planner(source, ledger, backlog, sizer, config.Limits(freshness=0), "plan", False)
    split = _split()
    ledger.plan("numbers", [Planned(split)])
    ledger.commit([Receipt(split.split_id, "numbers", 1, split.bounds, rows=1, file="f")])
    planner._acknowledge(last=True)
    assert [left.split_id for left in ledger.unacknowledged("numbers", 10)] == [split.split_id]


@pytest.mark.parametrize("replaced", ["before", "meanwhile"])
def test_only_the_version_that_was_committed_is_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: str
) -> None:
    store, done = LocalStore(str(tmp_path / "in")), LocalStore(str(tmp_path / "done"))
    key = f"{store.root}/file"
    store.put(key, b"committed")
    item = store.head(key)
    assert item is not None
    settings = FilesSettings(name="numbers", kind="files", url=str(tmp_path / "in"), after={"move": f"/{done.root}"})
    move = after_action(settings, store)
    assert move is not None
    if replaced == "before":
        store.put(key, b"newer and longer")
    else:
        read = store.get

        def read_and_replaced(key: str, version: str | None = None) -> bytes:
            content = read(key, version)
            store.put(key, b"newer and longer")
            return content

        monkeypatch.setattr(store, "get", read_and_replaced)
    move((key, item.version))
    assert (tmp_path / "in/file").read_bytes() == b"newer and longer"
    archived = tmp_path / "done/file"
    assert not archived.exists() if replaced == "before" else archived.read_bytes() == b"committed"
