"""A late attempt of a split that was bisected or rejected: its file never appears beside the other results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream_infer import config
from stream_infer.connectors.parquet.settings import ParquetSettings
from stream_infer.connectors.parquet.sink import ParquetSink
from stream_infer.driver.admission import Backlog
from stream_infer.driver.circuit_breaker import CircuitBreaker
from stream_infer.driver.committer import Committer
from stream_infer.driver.planner import Planner
from stream_infer.driver.sizing import SplitSizer
from stream_infer.ledger import Ledger
from stream_infer.splits import Receipt, Reject, Split
from stream_infer.tasks import Outcome, Poisoned, Task, Trail, with_trail
from stream_infer.telemetry.metrics import Metrics
from stream_infer.testing import NumbersReader, NumbersSource
from stream_infer.worker.stages import WriteStage

NUMBERS = 40
Listing = Callable[[], list[str]]


@pytest.fixture(params=["disk", "s3"])
def sink_and_listing(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[ParquetSink, Listing]:
    """A sink, and a function that lists the records in its folder."""
    if request.param == "disk":
        root = tmp_path / "out"

        def on_disk() -> list[str]:
            files = root.rglob("*.parquet")
            return [name for file in files for name in pq.read_table(file)["record_id"].to_pylist()]

        return ParquetSink.from_config(ParquetSettings(url=str(root))), on_disk
    client, bucket = request.getfixturevalue("s3_client"), request.getfixturevalue("s3_bucket")()

    def on_s3() -> list[str]:
        keys = [item["Key"] for item in client.list_objects_v2(Bucket=bucket).get("Contents", [])]
        bodies = [client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys]
        return [name for body in bodies for name in pq.read_table(pa.BufferReader(body))["record_id"].to_pylist()]

    storage: config.Storage = request.getfixturevalue("s3")
    return ParquetSink.from_config(ParquetSettings(url=f"s3://{bucket}/out", storage=storage)), on_s3


class _Driver:
    """A ledger and a committer with one planned split."""

    def __init__(self, folder: Path, sink: ParquetSink) -> None:
        self.ledger = Ledger.open(f"sqlite:///{folder}/ledger.db", {})
        self.ledger.acquire("test")
        source = NumbersSource("numbers", NUMBERS, most=NUMBERS)
        self.backlog, sizer = Backlog(2**30, 64, 4), SplitSizer(NUMBERS, fused=True)
        circuit_breaker = CircuitBreaker(config.CircuitBreakerLimits())
        sources, sizers = {"numbers": source}, {"numbers": sizer}
        self.committer = Committer(self.ledger, sink, sources, self.backlog, sizers, Metrics(), circuit_breaker)
        self.committer.start()
        limits = config.Limits(split_records=NUMBERS)
        Planner(source, self.ledger, self.backlog, sizer, limits, "plan", True)._plan_once(1)
        (self.split,) = self.backlog.take(0.0)

    def settle(self, outcome: Outcome) -> None:
        self.committer.outcomes.put(outcome)
        self.committer.outcomes.join()
        assert self.committer.failure is None


@pytest.fixture
def driver(tmp_path: Path, sink_and_listing: tuple[ParquetSink, Listing]) -> Iterator[_Driver]:
    driver = _Driver(tmp_path, sink_and_listing[0])
    yield driver
    driver.committer.finish()
    driver.ledger.close()


def _attempt(sink: ParquetSink, split: Split) -> Callable[[], Outcome]:
    """A function that writes the rows of an attempt, which has read them already."""
    (piece,) = NumbersReader().read(split)
    return lambda: WriteStage(sink).run(Task(split, piece.table))


def _poisoned(split: Split) -> Outcome:
    return Poisoned(Task(split), Reject("", "numbers", "infer", "WorkerDied", "it died", 3, 0.0))


def _refusing(sink: ParquetSink, split: Split, deaths: int = 0) -> Outcome:
    """The outcome of an attempt whose model rejects every record."""
    (piece,) = NumbersReader().read(split)
    record_ids = piece.table.column("record_id").to_pylist()
    rejects = [Reject(each, "numbers", "infer", "ValueError", "not now", split.attempt, 0.0) for each in record_ids]
    task = Task(split, piece.table.slice(0, 0), rejects=tuple(rejects), trail=Trail(deaths=deaths))
    return WriteStage(sink).run(task)


def test_a_late_attempt_of_a_divided_split_adds_no_row(
    driver: _Driver, sink_and_listing: tuple[ParquetSink, Listing]
) -> None:
    sink, listing = sink_and_listing
    late = _attempt(sink, driver.split)
    driver.settle(_poisoned(driver.split))
    pieces = driver.backlog.take(0.0)
    assert len(pieces) == 16
    for piece in pieces[:8]:
        driver.settle(_attempt(sink, piece)())
    outcome = late()
    assert outcome.task.receipt is not None
    assert outcome.task.receipt.retired
    assert len(listing()) == sum(piece.records for piece in pieces[:8])
    driver.settle(outcome)  # and the committer, told of it, divides nothing a second time
    assert driver.backlog.take(0.0) == []
    for piece in pieces[8:]:
        driver.settle(_attempt(sink, piece)())
    assert sorted(listing()) == sorted(f"numbers/{number}" for number in range(NUMBERS))
    assert driver.ledger.audit()["committed"] == NUMBERS


def test_a_name_that_was_taken_before_a_crash_is_bisected_by_the_next_start(
    driver: _Driver, sink_and_listing: tuple[ParquetSink, Listing]
) -> None:
    sink, _ = sink_and_listing
    sink.retire(driver.split)
    receipt = sink.find(driver.split)
    assert receipt is not None
    driver.committer.adopt(driver.split, receipt)
    assert len(driver.backlog.take(0.0)) == 16


def test_a_file_that_came_before_the_name_was_taken_is_adopted(
    driver: _Driver, sink_and_listing: tuple[ParquetSink, Listing]
) -> None:
    sink, listing = sink_and_listing
    _attempt(sink, driver.split)()
    driver.settle(_poisoned(driver.split))
    assert driver.backlog.take(0.0) == []
    assert sorted(listing()) == sorted(f"numbers/{number}" for number in range(NUMBERS))
    assert driver.ledger.audit()["committed"] == NUMBERS


@pytest.mark.parametrize(("attempt", "deaths"), [(2, 0), (1, 1)], ids=["another start", "another worker"])
def test_a_late_attempt_adds_no_row_where_a_later_one_refused_all(
    driver: _Driver, sink_and_listing: tuple[ParquetSink, Listing], attempt: int, deaths: int
) -> None:
    """A model may answer differently the second time. A late row would appear beside the replay of its reject."""
    sink, listing = sink_and_listing
    late = _attempt(sink, replace(driver.split, attempt=1))
    driver.settle(_refusing(sink, replace(driver.split, attempt=attempt), deaths))
    assert driver.ledger.audit()["rejected"] == NUMBERS
    outcome = late()
    assert outcome.task.receipt is not None
    assert outcome.task.receipt.retired
    assert listing() == []


def test_rows_that_came_before_a_refusal_was_told_are_adopted(
    driver: _Driver, sink_and_listing: tuple[ParquetSink, Listing]
) -> None:
    sink, listing = sink_and_listing
    refusal = _refusing(sink, replace(driver.split, attempt=2))
    _attempt(sink, replace(driver.split, attempt=1))()
    driver.settle(refusal)
    assert sorted(listing()) == sorted(f"numbers/{number}" for number in range(NUMBERS))
    audit = driver.ledger.audit()
    assert (audit["committed"], audit["rejected"]) == (NUMBERS, 0)


def test_the_only_attempt_needs_no_name_for_what_it_refused(
    driver: _Driver, sink_and_listing: tuple[ParquetSink, Listing]
) -> None:
    driver.settle(_refusing(sink_and_listing[0], replace(driver.split, attempt=1)))
    assert driver.ledger.audit()["rejected"] == NUMBERS
    assert sink_and_listing[0].find(driver.split) is None


def test_the_receipt_in_the_file_is_the_one_that_the_ledger_gets(
    driver: _Driver, sink_and_listing: tuple[ParquetSink, Listing], monkeypatch: pytest.MonkeyPatch
) -> None:
    committed: list[Receipt] = []
    commit = driver.ledger.commit

    def commit_and_keep(receipts: list[Receipt]) -> object:
        committed.extend(receipts)
        return commit(receipts)

    monkeypatch.setattr(driver.ledger, "commit", commit_and_keep)
    outcome = _attempt(sink_and_listing[0], driver.split)()
    driver.settle(with_trail(outcome, Trail(seconds={"read": 1.0, "write": 2.0})))
    assert committed == [sink_and_listing[0].find(driver.split)]
