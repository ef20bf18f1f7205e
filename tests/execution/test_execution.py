"""Calls of an execution to its attempt tracker: what they carry, and how often they are made."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from stream_infer.execution import execution
from stream_infer.execution_seam import ExecutionReport
from stream_infer.splits import Split
from stream_infer.tasks import Done, Outcome, Task
from stream_infer.worker.envelope import pack


def test_the_tracker_is_polled_now_and_then_and_drops_finished_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    splits = [Split.of("s", {"n": number}, folder="f", records=1, bytes=1) for number in range(3)]
    calls: list[list[str]] = []
    end = threading.Event()

    def outputs(*_: Any) -> Iterator[pa.Table]:
        yield from (pack(Done(Task(split))) for split in splits)
        end.wait(10)

    tracker = SimpleNamespace(report=SimpleNamespace(remote=calls.append))
    ray = SimpleNamespace(ObjectRef=object, kill=lambda _: None, get=lambda _: ExecutionReport())
    monkeypatch.setattr(execution, "ray", ray)
    monkeypatch.setattr(execution, "start_tracker", lambda: tracker)
    monkeypatch.setattr(execution, "unbounded", lambda _: None)
    monkeypatch.setattr(execution, "blocks", outputs)
    outcomes: queue.Queue[Outcome] = queue.Queue()
    running = execution.RayExecution(1, [], 3, outcomes)
    try:
        for _ in splits:
            outcomes.get(timeout=10)
        for now in (100.0, 100.1, 100.2, 100.3):
            monkeypatch.setattr(execution, "time", SimpleNamespace(monotonic=lambda now=now: now))
            running.report()
    finally:
        end.set()
        assert running.join(10)
    assert calls == [[split.split_id for split in splits], []]
