"""Stages: what runs in an actor, and what happens to an error there."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import time
from collections.abc import Sequence
from itertools import count

import pyarrow as pa
import ray

from stream_infer import crash, retry
from stream_infer.attempts import Deaths, StageStart, deaths_allowed
from stream_infer.errors import Fatal, Oversized, Retryable, StreamInferError
from stream_infer.stages import Stage
from stream_infer.tasks import PRIMING
from stream_infer.worker.stages import reject_of
from stream_infer.worker.task import Batch
from stream_infer.worker.watchdog import watched

ORDER = ("read", "infer", "write")
# A collection looks at every object of a worker, hundreds of thousands of imported ones and those of the split at hand, and
# a split of many records allocates enough to start one every few milliseconds: a fifth of its time.
_COLLECT_AFTER = 50_000  # allocations


class WorkerDied(StreamInferError):
    """A split killed the processes that worked on it."""


class WorkerHung(StreamInferError):
    """A split kept its worker busy past its deadline, and the watchdog ended it."""


class StageActor:
    """An actor that takes one split at a time through its stages.

    A dependency that fails is waited out here, with jittered backoff and until the gate is closed: the split stays
    admitted, so backpressure holds everything behind it. Any other error is tried ``attempts`` times and then poisons the split,
    which the driver bisects. A stage that kills this process is counted by the gate; one that hangs is ended by the
    watchdog, which kills the process.

    The time between two calls is told with the next split (`Batch.waits`). The part of it after that split had become
    ready for this stage is backpressured: work was there and was held back, by a full stage behind this one or by the
    hand-over itself. The rest is idle: nothing was there. The stages of one actor share both.

    Args:
        owns_process: the process is a worker of Ray's that ends with this actor.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        tracker: ray.actor.ActorHandle,
        attempts: int,
        threads: int,
        niceness: int = 0,
        owns_process: bool = False,
    ) -> None:
        self._up = time.monotonic()
        if owns_process:
            atexit.register(_leave)
        os.nice(niceness)
        self._stages = stages
        self._tracker = tracker
        self._worker = ray.get_runtime_context().get_worker_id()
        self._attempts = attempts
        self._threads = min(threads, os.cpu_count() or 1)
        self._broken: Exception | None = None
        try:
            for stage in stages:
                with crash.around("setup"):
                    stage.setup()
        except Exception as error:  # told by the first split, which the driver can read; an actor's death it cannot
            self._broken = error
        gc.freeze()
        gc.set_threshold(_COLLECT_AFTER)
        self._ended_at = time.time()
        self._idle = self._backpressured = 0.0

    def __call__(self, envelope: pa.Table) -> pa.Table:
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(self._threads)  # OpenMP keeps it by thread, and Ray does not call from one alone
        batch = Batch.from_envelope(envelope)
        self._waited(batch)
        if isinstance(self._broken, Fatal):
            batch.fatal = batch.fatal or str(self._broken)
        elif self._broken is not None:
            raise self._broken
        for number, stage in enumerate(self._stages):
            if batch.poisoned is not None or batch.fatal is not None or batch.held or batch.split.source == PRIMING:
                break
            if not self._begun(stage, batch, first=number == 0):
                break
            batch = self._guarded(stage, batch)
        gc.collect(1)
        batch.ready_at = self._ended_at = time.time()
        return batch.to_envelope()

    def _waited(self, batch: Batch) -> None:
        """Account for the time since the last call ended. A split that only warms the actors carries none of it."""
        now = time.time()
        gap = max(0.0, now - self._ended_at)
        held = min(gap, max(0.0, now - batch.ready_at)) if batch.ready_at else 0.0
        self._idle += gap - held
        self._backpressured += held
        if batch.split.source != PRIMING:
            share = [self._idle / len(self._stages), self._backpressured / len(self._stages)]
            batch.waits |= {stage.name: share for stage in self._stages}
            self._idle = self._backpressured = 0.0

    def _begun(self, stage: Stage, batch: Batch, first: bool) -> bool:
        """Tell the gate that the stage starts; False where it must not: the service stops, or the split kills its workers.

        A later stage of the same call could only be told what the first was. Where nobody died it does not wait until
        the gate has noted it; else it must, or the next death would be put down to the stage before.
        """
        split = batch.split
        crash.point("gate.before")
        up = time.monotonic() - self._up
        start = StageStart(stage.name, ORDER.index(stage.name), _deadline(stage, batch), self._worker, up)
        asked = self._tracker.begin.remote(split.split_id, start)
        if not first and not batch.deaths:
            return True
        deaths: Deaths = ray.get(asked)
        if deaths.closed:
            batch.held = True
            return False
        batch.deaths = deaths.total
        if deaths.charged(alone=split.records <= 1 or bool(split.replay)) < deaths_allowed(split, self._attempts):
            return True
        batch.poisoned = reject_of(split, deaths.stage, _killed(deaths))
        return False

    def _guarded(self, stage: Stage, batch: Batch) -> Batch:
        started, began = time.perf_counter(), time.time()
        try:
            with crash.around(stage.name):
                batch = self._tried(stage, batch)
        except Fatal as error:
            batch.fatal = str(error)
        except Exception as error:
            batch.poisoned = reject_of(batch.split, stage.name, error)
        batch.seconds[stage.name] = time.perf_counter() - started
        batch.marks[stage.name] = [began, time.time()]
        return batch

    def _tried(self, stage: Stage, batch: Batch) -> Batch:
        told = False
        tries = count()

        def one_try() -> Batch:
            if next(tries):
                self._tracker.restart_clock.remote(batch.split.split_id)
            with watched(_deadline(stage, batch)):  # waiting for a dependency is no hanging: each try has its own clock
                return stage.run(batch)

        def report(error: Retryable) -> None:
            nonlocal told
            told = True
            if not self._may_wait(stage, batch, error):
                raise error

        for attempt in range(1, self._attempts + 1):
            try:
                try:
                    done = retry.WORK.wait_out(one_try, on_failure=report)
                except Retryable:  # nothing is waited for any more
                    batch.held = True
                    done = batch
                done.retries += next(tries) - 1
                if told:
                    self._tracker.resume.remote(batch.split.split_id)
                return done
            except (Fatal, Oversized):
                raise
            except Exception:
                if attempt == self._attempts:
                    raise
        raise AssertionError("unreachable: attempts is at least 1")

    def _may_wait(self, stage: Stage, batch: Batch, error: Retryable) -> bool:
        """Tell the gate what the stage waits for; False where nothing is waited for any more."""
        why = f"{stage.name}: {error}"
        waits = self._tracker.stall.remote(batch.split.split_id, why, stage.name, error.dependency)
        try:
            return bool(ray.get(waits))
        except ray.exceptions.RayError:  # the gate is gone, and its execution with it
            return True


def _leave() -> None:
    """End the process when all exit handlers have run.

    By then Ray has taken its leave of the node. Its destructors would come last, and now and then a worker never got through them
    (Ray 2.60: `~CoreWorkerProcessImpl` drops a message that was not sent yet, which posts to the queue that is locked for being
    emptied), or crashed there: a process stayed for ever with all its memory, a gigabyte where torch was loaded.
    """
    atexit.unregister(_leave)
    atexit._run_exitfuncs()  # those registered before this one, Ray's and those of a model's modules among them
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _deadline(stage: Stage, batch: Batch) -> float | None:
    """Seconds for one try. Writing has none: no record can make it hang, and a store is slow for all of them."""
    return None if stage.name == "write" else batch.deadline


def _killed(deaths: Deaths) -> StreamInferError:
    if deaths.hung:
        return WorkerHung(f"hung for {deaths.hung:g} s in {deaths.stage}; {deaths.total} worker processes ended by it")
    memory = f", {deaths.starved} times for want of memory on its node" if deaths.starved else ""
    return WorkerDied(f"the worker process died {deaths.total} times in {deaths.stage}{memory}")
