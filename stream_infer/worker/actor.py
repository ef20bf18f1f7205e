"""The stage actor: runs stages on one split at a time, and turns errors into outcomes."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import pyarrow as pa
import ray

from stream_infer import crash, retry
from stream_infer.attempts import Deaths, StageStart, deaths_allowed
from stream_infer.errors import Fatal, Oversized, Retryable, StreamInferError
from stream_infer.stages import Stage, devices_by_stage
from stream_infer.tasks import PRIMING, Done, Failed, Held, Outcome, Poisoned, Stall, Task, with_trail
from stream_infer.worker.envelope import pack, unpack
from stream_infer.worker.stages import reject_of
from stream_infer.worker.watchdog import watched

# A garbage collection visits every object of a worker: hundreds of thousands of imported ones, and those of the split. With
# Python's threshold a split of many records starts one every few milliseconds, which takes a fifth of its time.
_COLLECT_AFTER = 50_000  # allocations


class WorkerDied(StreamInferError):
    """A split killed the processes that worked on it."""


class WorkerHung(StreamInferError):
    """A split kept its worker busy past its deadline, and the watchdog ended the worker."""


class StageActor:
    """An actor that takes one split at a time through its stages.

    A stage waits for a dependency that fails, with jittered backoff, until the attempt tracker is closed. Meanwhile the split
    stays admitted, so backpressure stops the work behind it. After any other error the stage is tried again, up to
    ``attempts`` times in all; then the split is poisoned, and the driver bisects it. The attempt tracker counts the stages that
    kill this process; the watchdog ends the process when a stage hangs.

    The time between two calls is attached to the next split (`tasks.Trail.stalls`). The part of it after that split was
    ready for this actor is backpressured: the split waited because of a full pool behind this one, or because of the hand-over
    itself. The rest is idle: no split was ready. The stages of one actor share both parts equally.

    Args:
        first_stage: position of the first of the stages in the pipeline, from 0.
        owns_process: whether the process is a worker of Ray that ends with this actor.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        first_stage: int,
        tracker: ray.actor.ActorHandle,
        attempts: int,
        threads: int,
        niceness: int = 0,
        owns_process: bool = False,
    ) -> None:
        self._up_at = time.monotonic()
        if owns_process:
            atexit.register(_end_process)
        os.nice(niceness)
        self._stages = stages
        self._first_stage = first_stage
        self._tracker = tracker
        self._worker = ray.get_runtime_context().get_worker_id()
        self._attempts = attempts
        self._threads = min(threads, os.cpu_count() or 1)
        self._setup_error: Exception | None = None
        try:
            for stage, devices in zip(stages, devices_by_stage(stages), strict=True):
                with crash.around("setup"):
                    stage.setup(devices)
        except Exception as error:  # raised by the first call, because the driver cannot read why an actor died
            self._setup_error = error
        gc.freeze()
        gc.set_threshold(_COLLECT_AFTER)
        self._ended_at = time.time()
        self._idle = self._backpressured = 0.0

    def __call__(self, envelope: pa.Table) -> pa.Table:
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(
                self._threads
            )  # OpenMP keeps the number by thread, and Ray calls from several threads
        outcome = unpack(envelope)
        stalls = self._stalls(outcome.task)
        if isinstance(self._setup_error, Fatal):
            if not isinstance(outcome, Failed):
                outcome = Failed(outcome.task, str(self._setup_error))
        elif self._setup_error is not None:
            raise self._setup_error
        for position, stage in enumerate(self._stages):
            if not isinstance(outcome, Done) or outcome.task.split.source == PRIMING:
                break
            outcome = self._begin(stage, position, outcome.task)
            if isinstance(outcome, Done):
                outcome = self._run(stage, outcome.task)
        gc.collect(1)
        self._ended_at = time.time()
        trail = outcome.task.trail
        return pack(with_trail(outcome, replace(trail, stalls={**trail.stalls, **stalls}, ready_at=self._ended_at)))

    def _stalls(self, task: Task) -> dict[str, Stall]:
        """The time since the last call, by stage. A priming split gets none of it."""
        now, ready_at = time.time(), task.trail.ready_at
        gap = max(0.0, now - self._ended_at)
        backpressured = min(gap, max(0.0, now - ready_at)) if ready_at else 0.0
        self._idle += gap - backpressured
        self._backpressured += backpressured
        if task.split.source == PRIMING:
            return {}
        share = (self._idle / len(self._stages), self._backpressured / len(self._stages))
        self._idle = self._backpressured = 0.0
        return {stage.name: share for stage in self._stages}

    def _begin(self, stage: Stage, position: int, task: Task) -> Outcome:
        """Report the start of the stage to the attempt tracker.

        A later stage of the same call would get the same answer as the first. If no worker died, it does not wait until the
        tracker has noted the start. Otherwise it waits, or the next death would count for the stage before.

        Returns:
            `Done` if the stage may start; `Held` if the service stops; `Poisoned` if the split killed too many workers.
        """
        split = task.split
        crash.point("gate.before")
        up = time.monotonic() - self._up_at
        start = StageStart(stage.name, self._first_stage + position, _deadline(stage, task), self._worker, up)
        answer = self._tracker.begin.remote(split.split_id, start)
        if position and not task.trail.deaths:
            return Done(task)
        deaths: Deaths = ray.get(answer)
        if deaths.closed:
            return Held(task)
        if deaths.total != task.trail.deaths:
            task = replace(task, trail=replace(task.trail, deaths=deaths.total))
        if deaths.charged(alone=split.records <= 1 or bool(split.replay)) < deaths_allowed(split, self._attempts):
            return Done(task)
        return Poisoned(task, reject_of(split, deaths.stage, _death_error(deaths)))

    def _run(self, stage: Stage, task: Task) -> Outcome:
        """The outcome of the stage, with its timings."""
        started, began = time.perf_counter(), time.time()
        outcome: Outcome
        try:
            with crash.around(stage.name):
                outcome = self._try(stage, task)
        except Fatal as error:
            outcome = Failed(task, str(error))
        except Exception as error:
            outcome = Poisoned(task, reject_of(task.split, stage.name, error))
        trail = outcome.task.trail
        seconds = {**trail.seconds, stage.name: time.perf_counter() - started}
        timestamps = {**trail.timestamps, stage.name: (began, time.time())}
        return with_trail(outcome, replace(trail, seconds=seconds, timestamps=timestamps))

    def _try(self, stage: Stage, task: Task) -> Outcome:
        """Run the stage until it succeeds, as often as ``attempts`` allows, and wait out failing dependencies."""
        split_id = task.split.split_id
        tries = count()
        stalled = False

        def one_try() -> Outcome:
            if next(tries):
                self._tracker.restart_clock.remote(split_id)
            with watched(_deadline(stage, task)):  # a wait for a dependency is no hang, so each try has its own clock
                return stage.run(task)

        def report(error: Retryable) -> None:
            nonlocal stalled
            stalled = True
            if not self._may_wait(stage, split_id, error):
                raise error

        for attempt in range(1, self._attempts + 1):
            try:
                outcome = retry.WORK.wait_out(one_try, on_failure=report)
            except Retryable:  # the service stops and waits for no dependency any more
                return Held(task)
            except (Fatal, Oversized):
                raise
            except Exception:
                if attempt == self._attempts:
                    raise
                continue
            if stalled:
                self._tracker.resume.remote(split_id)
            retries = next(tries) - 1
            return _with_retries(outcome, retries) if retries else outcome
        raise AssertionError("unreachable: attempts is at least 1")

    def _may_wait(self, stage: Stage, split_id: str, error: Retryable) -> bool:
        """Report a stall to the attempt tracker; False if the service stops and waits for no dependency any more."""
        answer = self._tracker.stall.remote(split_id, f"{stage.name}: {error}", stage.name, error.dependency)
        try:
            return bool(ray.get(answer))
        except ray.exceptions.RayError:  # the tracker has ended, and its execution with it
            return True


def _with_retries(outcome: Outcome, retries: int) -> Outcome:
    trail = outcome.task.trail
    return with_trail(outcome, replace(trail, retries=trail.retries + retries))


def _end_process() -> None:
    """End the process when all exit handlers have run.

    By then Ray has left the node, and only its destructors remain. In some workers they deadlock or crash (Ray 2.60:
    `~CoreWorkerProcessImpl` drops an unsent message, which posts to a queue that is locked while it is emptied). Such a process
    would stay for ever with all its memory, a gigabyte if torch is loaded.
    """
    atexit.unregister(_end_process)
    atexit._run_exitfuncs()  # the handlers registered before this one, such as those of Ray and of a model's modules
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _deadline(stage: Stage, task: Task) -> float | None:
    """Seconds for one try. Writing has no deadline: no record can make it hang, and a slow store is slow for all records."""
    return None if stage.name == "write" else task.deadline


def _death_error(deaths: Deaths) -> StreamInferError:
    """The error that describes the deaths of a split's workers."""
    if deaths.hung:
        return WorkerHung(f"hung for {deaths.hung:g} s in {deaths.stage}; {deaths.total} worker processes ended by it")
    memory = f", {deaths.starved} times for want of memory on its node" if deaths.starved else ""
    return WorkerDied(f"the worker process died {deaths.total} times in {deaths.stage}{memory}")
