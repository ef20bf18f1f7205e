"""An execution: one Ray Data execution, from warm-up to drain."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence

import ray

from stream_infer import crash
from stream_infer.errors import Fatal, Retryable
from stream_infer.execution.actor_pools import with_pool
from stream_infer.execution.attempts import start_tracker
from stream_infer.execution.unbounded import Feed, blocks, unbounded
from stream_infer.splits import Split
from stream_infer.stages import PoolSpec
from stream_infer.tasks import PRIMING, priming_split
from stream_infer.worker.task import ENVELOPE, Batch

_ASK_SECONDS = 0.25  # the gate answers to every worker; a person reads what it tells


class RayExecution:
    """Started when constructed. Splits go in by `submit`; what came of them is put on ``outcomes``.

    An execution that failed has ``failure`` set and ``ended`` is set too; what it had not put on ``outcomes`` by then
    it never will, though a worker of it may still be writing a file.

    Attributes:
        failures: of dependencies, met by the workers, by step and dependency; as of the last `waiting`.
        deaths: of workers, by step and cause; as of the last `waiting`.
    """

    def __init__(self, number: int, stages: Sequence[PoolSpec], attempts: int, outcomes: queue.Queue[Batch]) -> None:
        self.number = number
        self.started_at = time.time()
        self.submitted = 0
        self.failure: BaseException | None = None
        self.ended = threading.Event()
        self._primed = threading.Event()
        self._asked: ray.ObjectRef | None = None
        self._ask_at = 0.0
        self._through: deque[str] = deque()  # split ids that the gate need not know any more
        self._waits: dict[str, str] = {}
        self.failures: Mapping[tuple[str, str], int] = {}
        self.deaths: Mapping[tuple[str, str], int] = {}
        self._stages = stages
        self._outcomes = outcomes
        self._tracker = start_tracker()
        self._feed = Feed(ENVELOPE)
        dataset = unbounded(self._feed)
        for spec in stages:
            dataset = with_pool(dataset, spec, self._tracker, attempts)
        self._dataset = dataset
        self._thread = threading.Thread(target=self._collect, name=f"execution-{number}", daemon=True)
        self._thread.start()

    def warm(self, timeout: float) -> None:
        """Return when a priming split has come through every stage and the gate answers.

        Raises:
            Retryable: it did not within ``timeout`` seconds, or the execution failed.
            Fatal: a step cannot be set up until a person acts.
        """
        self._feed.push(Batch(priming_split(self.number)).to_envelope())
        deadline = time.monotonic() + timeout
        tracker = self._tracker.report.remote([])
        while not (self._primed.wait(0.1) and ray.wait([tracker], timeout=0.1)[0]):
            if isinstance(self.failure, Fatal):
                raise self.failure
            if self.ended.is_set():
                raise Retryable(f"the execution failed while it started: {self.reason}", dependency="execution")
            if time.monotonic() > deadline:
                raise Retryable(
                    f"the stages were not ready within {timeout:.0f} s: the cluster may lack the CPUs or GPUs they ask for",
                    dependency="execution",
                )

    def submit(self, split: Split, deadline: float | None = None) -> None:
        """Send one split on its way; its attempt is already counted in the ledger.

        Args:
            deadline: seconds that one try of a step may take before the process it hangs in is killed; None: no limit.
        """
        self.submitted += 1
        now = time.time()
        batch = Batch(split, deadline=deadline, ready_at=now, marks={"sent": [now, now]})
        self._feed.push(batch.to_envelope())

    def waiting(self) -> dict[str, str]:
        """Splits that wait for a failing dependency, and what it said, as of the call before. Never blocks."""
        if self._asked is not None and ray.wait([self._asked], timeout=0)[0]:
            try:
                self._waits, self.failures, self.deaths = ray.get(self._asked)
            except ray.exceptions.RayError:  # the gate is gone, and its execution with it
                self._waits = {}
            self._asked = None
        if self._asked is None and time.monotonic() >= self._ask_at and not self.ended.is_set():
            self._ask_at = time.monotonic() + _ASK_SECONDS
            through = [self._through.popleft() for _ in range(len(self._through))]
            self._asked = self._tracker.report.remote(through)
        return self._waits

    def hold(self) -> None:
        """Start nothing more of what is in it, and wait for no dependency: such splits come out `Batch.held`."""
        self._tracker.close.remote()

    def actors(self) -> dict[str, int]:
        """Actors that run each step, as of the last turn of the execution's loop."""
        sizes = zip(self._stages, self._feed.actors, strict=False)
        return {stage.name: size for spec, size in sizes for stage in spec.stages}

    def close(self) -> None:
        """Let it drain. It has ended when ``ended`` is set."""
        self._feed.close()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end; True when it came."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def reason(self) -> str:
        """The failure in one line."""
        lines = [line.strip() for line in str(self.failure).splitlines() if line.strip()]
        return lines[-1][:300] if lines else type(self.failure).__name__

    def _collect(self) -> None:
        try:
            for envelope in blocks(self._dataset, self._feed):
                batch = Batch.from_envelope(envelope)
                self._through.append(batch.split.split_id)
                if batch.split.source != PRIMING:
                    crash.point("outcome")
                    self._outcomes.put(batch)
                elif batch.fatal is None:
                    self._primed.set()
                else:
                    self.failure = Fatal(batch.fatal)
        except BaseException as error:  # the thread's end is the message; the supervisor reads it
            self.failure = error
        finally:
            ray.kill(self._tracker)
            self.ended.set()
