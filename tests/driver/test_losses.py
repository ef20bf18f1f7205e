"""Lost records are logged with their coordinates, once, after the ledger has them."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from stream_infer.contracts import PlanBudget
from stream_infer.driver import losses
from stream_infer.driver.admission import Backlog
from stream_infer.driver.circuit_breaker import CircuitBreaker
from stream_infer.driver.committer import Committer
from stream_infer.driver.sizing import SplitSizer
from stream_infer.ledger import Ledger
from stream_infer.splits import Loss, Receipt
from stream_infer.tasks import Done, Task
from stream_infer.telemetry.metrics import Metrics
from stream_infer.testing import FolderSink, MemoryPosition, NumbersSource


def test_a_loss_that_a_worker_found_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = NumbersSource("numbers", 10)
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", {})
    ledger.acquire("test")
    (split,) = ledger.plan("numbers", list(source.plan(MemoryPosition(), PlanBudget(1, 10, 1000, 0.0, time.time()))))
    sizers = {"numbers": SplitSizer(10, fused=False)}
    sink = FolderSink(tmp_path)
    committer = Committer(
        ledger, sink, {"numbers": source}, Backlog(10, 10, 10), sizers, Metrics(), CircuitBreaker(None)
    )
    expired = (Loss("numbers/0", "numbers", "expired", 4),)
    receipt = Receipt(split.split_id, "numbers", 1, split.bounds, rows=6, losses=expired)
    committer.start()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):  # the second attempt's outcome comes late
            committer.outcomes.put(Done(Task(split, receipt=receipt)))
        committer.outcomes.join()
    committer.finish()
    said = [record for record in caplog.records if "lost" in record.message]
    assert [record.message for record in said] == [
        "source numbers: lost, because expired before it was read: 4 records from numbers/0 on (4 records in all)"
    ]
    assert vars(said[0])["coordinate"] == "numbers/0"


def test_a_thousand_losses_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        losses.report(Loss(f"s3://b/{number}#0", "s", "deleted") for number in range(1000))
    (line,) = (record.message for record in caplog.records)
    assert line == (
        "source s: lost, because deleted before it was read: s3://b/0#0, s3://b/1#0, s3://b/2#0, … (1000 records in all)"
    )
