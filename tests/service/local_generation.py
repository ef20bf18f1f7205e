"""Stages as threads of this process, in place of an execution of Ray: everything else of the service is itself.

For tests of what is shown while records flow. A split goes through bounded queues, so that a slow stage holds back the
one before it; a dependency that fails is waited out and told, as the engine's own stages do.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest

from stream_infer.engine.batch import Batch
from stream_infer.engine.layout import StageSpec
from stream_infer.engine.steps import Step, reject_of
from stream_infer.errors import Fatal, Retryable
from stream_infer.splits import Split

_Line = queue.Queue[Batch | None]


class LocalGeneration:
    """Has what the supervisor asks of `engine.generation.Generation`."""

    def __init__(self, number: int, stages: Sequence[StageSpec], attempts: int, outcomes: queue.Queue[Batch]) -> None:
        self.number = number
        self.started_at = time.time()
        self.submitted = 0
        self.failure: BaseException | None = None
        self.ended = threading.Event()
        self.failures: Mapping[tuple[str, str], int] = Counter()
        self.reason = ""
        self._waits: dict[str, str] = {}
        self._steps = [step for spec in stages for step in spec.steps]
        first: _Line = queue.Queue()
        self._lines: list[_Line] = [first, *(queue.Queue(1) for _ in stages)]
        self._outcomes = outcomes
        self._threads = [threading.Thread(target=self._work, args=(at, spec)) for at, spec in enumerate(stages)]
        self._threads.append(threading.Thread(target=self._collect))
        for thread in self._threads:
            thread.daemon = True

    def warm(self, _timeout: float) -> None:
        for step in self._steps:
            step.setup()
        for thread in self._threads:
            thread.start()

    def submit(self, split: Split, deadline: float | None = None) -> None:
        self.submitted += 1
        now = time.time()
        self._lines[0].put(Batch(split, deadline=deadline, ready_at=now, marks={"sent": [now, now]}))

    def waiting(self) -> dict[str, str]:
        return dict(self._waits)

    def actors(self) -> dict[str, int]:
        return {step.name: 1 for step in self._steps}

    def hold(self) -> None:
        return

    def close(self) -> None:
        self._lines[0].put(None)

    def join(self, timeout: float | None = None) -> bool:
        return self.ended.wait(timeout)

    def _work(self, at: int, spec: StageSpec) -> None:
        ended_at = time.time()
        while (batch := self._lines[at].get()) is not None:
            now = time.time()
            gap = now - ended_at
            held = min(gap, max(0.0, now - batch.ready_at))
            for step in spec.steps:
                batch.waits[step.name] = [(gap - held) / len(spec.steps), held / len(spec.steps)]
                if batch.poisoned is None and batch.fatal is None:
                    batch = self._run(step, batch)
            batch.ready_at = ended_at = time.time()
            self._lines[at + 1].put(batch)
        self._lines[at + 1].put(None)

    def _run(self, step: Step, batch: Batch) -> Batch:
        started = time.time()
        try:
            batch = self._patiently(step, batch)
        except Fatal as error:
            batch.fatal = str(error)
        except Exception as error:
            batch.poisoned = reject_of(batch.split, step.name, error)
        batch.seconds[step.name] = time.time() - started
        batch.marks[step.name] = [started, time.time()]
        return batch

    def _patiently(self, step: Step, batch: Batch) -> Batch:
        while True:
            try:
                done = step.run(batch)
            except Retryable as error:
                self._waits[batch.split.split_id] = f"{step.name}: {error}"
                self.ended.wait(0.5)
            else:
                self._waits.pop(batch.split.split_id, None)
                return done

    def _collect(self) -> None:
        while (batch := self._lines[-1].get()) is not None:
            self._outcomes.put(batch)
        self.ended.set()


def without_ray(patch: pytest.MonkeyPatch) -> None:
    """Pipelines of this process run in threads from here on."""
    patch.setattr("stream_infer.engine.supervisor.Generation", LocalGeneration)
    patch.setattr("stream_infer.pipeline.connect", lambda _root: (2, 0))
