"""What workers wait for is counted, and logged once with the split it holds up."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import pytest

from stream_infer.driver.admission import Backlog
from stream_infer.driver.stalls import Waits
from stream_infer.splits import Split
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metrics import Metrics

WHY = "read: s3://in/a.txt: the store failed: 503"


@dataclass
class Execution:
    """Has what is asked of `execution.execution.RayExecution`."""

    waits: dict[str, str] = field(default_factory=dict)
    failures: dict[tuple[str, str], int] = field(default_factory=dict)
    deaths: dict[tuple[str, str], int] = field(default_factory=dict)

    def waiting(self) -> dict[str, str]:
        return self.waits


def test_a_wait_is_logged_once_and_its_failures_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    metrics, backlog, split = Metrics(["s"]), Backlog(1, 8, 8), Split.of("s", {}, folder="f", records=1, bytes=1)
    backlog.offer([split])
    backlog.take(0)
    waits, execution = Waits(metrics, backlog), Execution()
    running: Any = execution
    with caplog.at_level(logging.WARNING):
        waits.look(running)
        execution.waits = {split.split_id: WHY, "of nobody": "write: s3://out: 503"}
        for failures in (2, 5):
            execution.failures = {("read", "store"): failures}
            waits.look(running)
    assert waits.told == (WHY, "write: s3://out: 503")
    assert metrics.value(m.DEPENDENCY_ERRORS, "read", "store") == 5
    assert [record.getMessage() for record in caplog.records] == [f"a worker waits: {why}" for why in waits.told]
    assert caplog.records[0].__dict__.items() >= split.fields().items()
    assert caplog.records[1].__dict__["split"] == "of nobody"
    waits.look(None)
    assert waits.told == ()


def test_workers_that_end_are_counted_and_logged_by_what_they_did_and_why(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics(["s"])
    waits, execution = Waits(metrics, Backlog(1, 8, 8)), Execution()
    running: Any = execution
    with caplog.at_level(logging.WARNING):
        for died in (1, 1, 3):
            execution.deaths = {("infer", "died"): died, ("read", "memory"): 1}
            waits.look(running)
        waits.look(None)
        execution.deaths = {("infer", "died"): 1}  # of the next execution, which begins to count anew
        waits.look(running)
    assert metrics.value(m.WORKER_DEATHS, "infer", "died") == 4
    assert metrics.value(m.WORKER_DEATHS, "read", "memory") == 1
    assert [record.getMessage() for record in caplog.records] == [
        "workers ended in infer (crashed): 1; what they had is tried again",
        "workers ended in read (no memory left on their node): 1; what they had is tried again",
        "workers ended in infer (crashed): 2; what they had is tried again",
        "workers ended in infer (crashed): 1; what they had is tried again",
    ]
