"""What the driver tells the gate of an execution, and how often."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from stream_infer.execution import execution
from stream_infer.execution.attempts import AttemptReport
from stream_infer.splits import Split
from stream_infer.worker.task import Batch


def test_the_gate_is_asked_now_and_then_and_forgets_what_came_out(monkeypatch: pytest.MonkeyPatch) -> None:
    splits = [Split.of("s", {"n": number}, folder="f", records=1, bytes=1) for number in range(3)]
    asked: list[list[str]] = []
    over = threading.Event()

    def out(*_: Any) -> Iterator[pa.Table]:
        yield from (Batch(split).to_envelope() for split in splits)
        over.wait(10)

    told = SimpleNamespace(remote=asked.append)
    ray = SimpleNamespace(ObjectRef=object, kill=lambda _: None, get=lambda _: AttemptReport({}, {}, {}))
    monkeypatch.setattr(execution, "ray", ray)
    monkeypatch.setattr(execution, "start_tracker", lambda: SimpleNamespace(report=told))
    monkeypatch.setattr(execution, "unbounded", lambda _: None)
    monkeypatch.setattr(execution, "blocks", out)
    outcomes: queue.Queue[Batch] = queue.Queue()
    running = execution.RayExecution(1, [], 3, outcomes)
    try:
        for _ in splits:
            outcomes.get(timeout=10)
        for now in (100.0, 100.1, 100.2, 100.3):
            monkeypatch.setattr(execution, "time", SimpleNamespace(monotonic=lambda now=now: now))
            running.waiting()
    finally:
        over.set()
        assert running.join(10)
    assert asked == [[split.split_id for split in splits], []]
