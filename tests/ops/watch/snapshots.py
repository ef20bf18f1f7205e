"""Snapshots for the tests: a service that is well, and how to spoil it."""

from __future__ import annotations

from typing import Any

from stream_infer.ops.watch.snapshot import Recent, Records, Snapshot, Source, Stage

NOW = 1_700_000_000.0


def well(**changes: Any) -> Snapshot:
    """A pipeline of two sources in the middle of calm work."""
    base: dict[str, Any] = {
        "pipeline": "tickets",
        "state": "ready",
        "ready": True,
        "at": NOW,
        "started_at": NOW - 3600,
        "acquired_at": NOW - 3600,
        "owner": "host:1",
        "epoch": 3,
        "records": Records(planned=10_100, committed=10_000, in_flight=100),
        "recent": Recent(seconds=60.0, records_per_second=120.0, committed=7200, commits=60, commit_seconds=0.01),
        "stages": [stage("read", 0.2), stage("infer", 0.5), stage("write", 0.1)],
        "sources": [source("stream"), source("inbox", kind="files")],
        "in_flight_splits": 2,
        "eta_seconds": 1.0,
        "freshness": 0.8,
    }
    return Snapshot(**base | changes)


def stage(name: str, busy: float, blocked: float = 0.0, **changes: Any) -> Stage:
    """A stage with one actor of at most one."""
    shares = {"busy": busy, "backpressured": blocked, "idle": max(0.0, 1.0 - busy - blocked)}
    return Stage(**{"name": name, "actors": 1, "max_actors": 1, "split_seconds": 0.5, **shares, **changes})


def source(name: str, kind: str = "kafka", **changes: Any) -> Source:
    """A source that committed a second ago."""
    base = {"rows": 5000, "in_flight": 50, "records_per_second": 60.0, "eta_seconds": 1.0, "last_commit": NOW - 1}
    return Source(**{"name": name, "kind": kind, **base, **changes})
