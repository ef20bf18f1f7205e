"""Stalls of workers are counted, and logged once with the split that waits."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import pytest

from stream_infer.driver.admission import Backlog
from stream_infer.driver.stalls import Stalls
from stream_infer.execution_seam import ExecutionReport
from stream_infer.splits import Split
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metrics import Metrics

REASON = "read: s3://in/a.txt: the store failed: 503"


@dataclass
class ReportingExecution:
    """An execution that only reports."""

    stalls: dict[str, str] = field(default_factory=dict)
    failures: dict[tuple[str, str], int] = field(default_factory=dict)
    deaths: dict[tuple[str, str], int] = field(default_factory=dict)

    def report(self) -> ExecutionReport:
        return ExecutionReport(self.stalls, self.failures, self.deaths)


def test_a_stall_is_logged_once_and_its_failures_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    metrics, backlog, split = Metrics(["s"]), Backlog(1, 8, 8), Split.of("s", {}, folder="f", records=1, bytes=1)
    backlog.offer([split])
    backlog.take(0)
    stalls, execution = Stalls(metrics, backlog), ReportingExecution()
    running: Any = execution
    with caplog.at_level(logging.WARNING):
        stalls.update(running)
        execution.stalls = {split.split_id: REASON, "of nobody": "write: s3://out: 503"}
        for failures in (2, 5):
            execution.failures = {("read", "store"): failures}
            stalls.update(running)
    assert stalls.reasons == (REASON, "write: s3://out: 503")
    assert metrics.value(m.DEPENDENCY_ERRORS, "read", "store") == 5
    assert [record.getMessage() for record in caplog.records] == [f"a worker waits: {why}" for why in stalls.reasons]
    assert caplog.records[0].__dict__.items() >= split.fields().items()
    assert caplog.records[1].__dict__["split"] == "of nobody"
    stalls.update(None)
    assert not stalls.reasons


def test_dead_workers_are_counted_and_logged_by_stage_and_cause(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics(["s"])
    stalls, execution = Stalls(metrics, Backlog(1, 8, 8)), ReportingExecution()
    running: Any = execution
    with caplog.at_level(logging.WARNING):
        for died in (1, 1, 3):
            execution.deaths = {("infer", "died"): died, ("read", "memory"): 1}
            stalls.update(running)
        stalls.update(None)
        execution.deaths = {("infer", "died"): 1}  # the next execution counts anew
        stalls.update(running)
    assert metrics.value(m.WORKER_DEATHS, "infer", "died") == 4
    assert metrics.value(m.WORKER_DEATHS, "read", "memory") == 1
    assert [record.getMessage() for record in caplog.records] == [
        "workers ended in infer (crashed): 1; their splits are tried again",
        "workers ended in read (no memory left on their node): 1; their splits are tried again",
        "workers ended in infer (crashed): 2; their splits are tried again",
        "workers ended in infer (crashed): 1; their splits are tried again",
    ]
