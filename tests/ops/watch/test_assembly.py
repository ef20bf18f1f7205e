"""From the metrics to what is shown of a stage."""

from __future__ import annotations

from typing import Any

import pytest

from stream_infer import config
from stream_infer.ops.watch.assembly import Stored, assemble
from stream_infer.ops.watch.samples import Sample, Window, sample_now
from stream_infer.ops.watch.snapshot import Stage
from stream_infer.telemetry import labels
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metrics import Metrics

SETTINGS = config.parse(
    {
        "name": "tickets",
        "ledger": "sqlite:///ledger.db",
        "sources": [{"name": "inbox", "kind": "files", "url": "s3://in/docs/", "format": "text"}],
        "model": {"kind": "python", "python": "no_such_module:Model"},
        "sink": {"url": "s3://out/rows"},
    }
)
LIVE: dict[str, Any] = {
    "state": "ready",
    "ready": True,
    "pools": [{"stages": [name], "max_actors": 1} for name in labels.STAGES],
}


def _read(before: Metrics, grown: Any) -> Stage:
    """The stage `read` after what happened within ten seconds."""
    oldest = Sample(0.0, sample_now(before).values)
    grown(before)
    window = Window(oldest, Sample(10.0, sample_now(before).values))
    stage = assemble(SETTINGS, LIVE, Stored(), window, [], 10.0).stage("read")
    assert stage is not None
    return stage


def test_tries_that_failed_are_a_share_of_all_tries_of_the_window() -> None:
    metrics = Metrics(["inbox"], "Model")
    metrics.add(m.DEPENDENCY_ERRORS, 1000, "read", "kafka")  # long ago

    def grown(metrics: Metrics) -> None:
        metrics.add(m.DEPENDENCY_ERRORS, 40, "read", "store")
        metrics.add(m.DEPENDENCY_ERRORS, 1, "read", "kafka")
        metrics.add(m.DEPENDENCY_ERRORS, 77, "plan", "store")
        for _ in range(59):
            metrics.observe(m.SPLIT_SECONDS, 0.1, "read")

    stage = _read(metrics, grown)
    assert (stage.failed, stage.failed_dependency) == (41, "store")
    assert stage.failed_share == pytest.approx(0.41)


def test_a_stage_whose_tries_all_succeed_has_no_share() -> None:
    stage = _read(Metrics(["inbox"], "Model"), lambda metrics: metrics.observe(m.SPLIT_SECONDS, 0.1, "read"))
    assert (stage.failed, stage.failed_share, stage.failed_dependency) == (0, None, None)


def test_workers_that_ended_within_the_window_are_told_by_stage_and_cause() -> None:
    metrics = Metrics(["inbox"], "Model")
    metrics.add(m.WORKER_DEATHS, 7, "infer", "hung")  # long ago
    oldest = Sample(0.0, sample_now(metrics).values)
    metrics.add(m.WORKER_DEATHS, 2, "infer", "died")
    window = Window(oldest, Sample(10.0, sample_now(metrics).values))
    (kind,) = assemble(SETTINGS, LIVE, Stored(), window, [], 10.0).recent.deaths
    assert (kind.stage, kind.cause, kind.workers) == ("infer", "died", 2)
