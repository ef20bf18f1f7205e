"""One Ray Data execution, from warm-up to drain."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Sequence

import ray

from stream_infer import crash
from stream_infer.errors import Fatal, Retryable
from stream_infer.execution.actor_pools import with_pool
from stream_infer.execution.attempts import start_tracker
from stream_infer.execution.unbounded import Feed, blocks, unbounded
from stream_infer.execution_seam import ExecutionReport
from stream_infer.splits import Split
from stream_infer.stages import PoolSpec
from stream_infer.tasks import PRIMING, Done, Failed, Outcome, Task, Trail, priming_split
from stream_infer.worker.envelope import ENVELOPE, pack, unpack

_REPORT_SECONDS = 0.25  # time between two reports; the tracker also answers every worker, so not less


class RayExecution:
    """The actor pools, an endless dataset through them and an attempt tracker; an `Execution` for the driver.

    Args:
        attempts: number of tries of a stage after which an error counts against the split.
        outcomes: receives the outcome of each submitted split.
    """

    def __init__(self, number: int, pools: Sequence[PoolSpec], attempts: int, outcomes: queue.Queue[Outcome]) -> None:
        self.number = number
        self.started_at = time.time()
        self.submitted = 0
        self.failure: BaseException | None = None
        self._ended = threading.Event()
        self._primed = threading.Event()
        self._report = ExecutionReport()
        self._next_report: ray.ObjectRef | None = None
        self._next_report_at = 0.0
        self._finished: deque[str] = deque()  # split ids for the tracker to drop
        self._pools = pools
        self._outcomes = outcomes
        self._tracker = start_tracker()
        self._feed = Feed(ENVELOPE)
        dataset = unbounded(self._feed)
        for pool in pools:
            dataset = with_pool(dataset, pool, self._tracker, attempts)
        self._dataset = dataset
        self._thread = threading.Thread(target=self._collect, name=f"execution-{number}", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether the execution is over: drained or failed."""
        return self._ended.is_set()

    @property
    def reason(self) -> str:
        """The failure in one line."""
        lines = [line.strip() for line in str(self.failure).splitlines() if line.strip()]
        return lines[-1][:300] if lines else type(self.failure).__name__

    def warm(self, timeout: float) -> None:
        """Return when a priming split has passed every pool and the attempt tracker answers.

        Raises:
            Retryable: ``timeout`` seconds passed, or the execution failed.
            Fatal: a stage cannot be set up; a person must act.
        """
        self._feed.push(pack(Done(Task(priming_split(self.number)))))
        deadline = time.monotonic() + timeout
        report = self._tracker.report.remote([])
        while not (self._primed.wait(0.1) and ray.wait([report], timeout=0.1)[0]):
            if isinstance(self.failure, Fatal):
                raise self.failure
            if self.ended:
                raise Retryable(f"the execution failed while it started: {self.reason}", dependency="execution")
            if time.monotonic() > deadline:
                raise Retryable(
                    f"the stages were not ready within {timeout:.0f} s: the cluster may lack the CPUs or GPUs they ask for",
                    dependency="execution",
                )

    def submit(self, split: Split, deadline: float | None = None) -> None:
        """Send one split into the first pool; its attempt is already counted in the ledger.

        Args:
            deadline: seconds that one try of a stage may take before its process is killed; None: no limit.
        """
        self.submitted += 1
        now = time.time()
        trail = Trail(ready_at=now, timestamps={"sent": (now, now)})
        self._feed.push(pack(Done(Task(split, deadline=deadline, trail=trail))))

    def report(self) -> ExecutionReport:
        """The newest report of the attempt tracker, a fraction of a second old. Never blocks."""
        if self._next_report is not None and ray.wait([self._next_report], timeout=0)[0]:
            try:
                self._report = ray.get(self._next_report)
            except ray.exceptions.RayError:  # the tracker ended with the execution
                self._report = self._report._replace(stalled={})
            self._next_report = None
        if self._next_report is None and time.monotonic() >= self._next_report_at and not self.ended:
            self._next_report_at = time.monotonic() + _REPORT_SECONDS
            finished = [self._finished.popleft() for _ in range(len(self._finished))]
            self._next_report = self._tracker.report.remote(finished)
        return self._report

    def hold(self) -> None:
        """Start no further stage, and wait for no dependency; such splits leave the execution unfinished."""
        self._tracker.close.remote()

    def actors(self) -> dict[str, int]:
        """Number of running actors by stage, as of the last step of the scheduling loop."""
        sizes = zip(self._pools, self._feed.actors, strict=False)
        return {stage.name: size for pool, size in sizes for stage in pool.stages}

    def close(self) -> None:
        """Accept no more splits; the execution ends when all of them have come out."""
        self._feed.close()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end of the execution; returns whether it has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _collect(self) -> None:
        try:
            for envelope in blocks(self._dataset, self._feed):
                outcome = unpack(envelope)
                split = outcome.task.split
                self._finished.append(split.split_id)
                if split.source != PRIMING:
                    crash.point("outcome")
                    self._outcomes.put(outcome)
                elif isinstance(outcome, Failed):
                    self.failure = Fatal(outcome.reason)
                else:
                    self._primed.set()
        except BaseException as error:  # the supervisor reads it
            self.failure = error
        finally:
            ray.kill(self._tracker)
            self._ended.set()
