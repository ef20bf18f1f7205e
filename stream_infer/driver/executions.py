"""The sequence of executions of one service: start, rotation, release when idle, restart after a failure."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable

from stream_infer import crash, retry
from stream_infer.config import Limits
from stream_infer.driver.committer import Committer
from stream_infer.driver.drain import await_end
from stream_infer.errors import Fatal, Retryable
from stream_infer.execution_seam import Execution
from stream_infer.tasks import Outcome
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metrics import Metrics

log = logging.getLogger(__name__)
_WARM_SECONDS = 600.0
_STEADY_SECONDS = 300.0  # an execution that lived this long did not fail of what made those before it fail
# Starts the execution of this number, which puts its outcomes on this queue.
StartExecution = Callable[[int, "queue.Queue[Outcome]"], Execution]


class Executions:
    """The current execution and its replacement. For the control thread.

    Args:
        start: starts one execution.
        stop: interrupts the pause after a failure.

    Attributes:
        current: the running execution; None between two.
        state: ``starting``, ``warming``, ``ready``, ``resting`` (no execution, nothing to do) or ``waiting`` (the pause
            after a failure).
        trouble: why the last execution failed, until the next one is ready.
    """

    def __init__(
        self, start: StartExecution, limits: Limits, committer: Committer, metrics: Metrics, stop: threading.Event
    ) -> None:
        self.current: Execution | None = None
        self.state = "starting"
        self.trouble: str | None = None
        self._start = start
        self._limits = limits
        self._committer = committer
        self._metrics = metrics
        self._stop = stop
        self._number = 0
        self._failures = 0
        self._busy_at = time.monotonic()

    def start(self) -> bool:
        """Start the next execution and warm it up; False, after a pause, if that failed.

        Raises:
            Fatal: no execution can start until a person acts.
        """
        self._number += 1
        self.state = "warming"
        execution = self._start(self._number, self._committer.outcomes)
        try:
            execution.warm(_WARM_SECONDS)
        except (Retryable, Fatal) as error:
            execution.close()
            self._metrics.add(m.EXECUTIONS, 1, "failed")
            if isinstance(error, Fatal):
                raise
            self.back_off(str(error))
            return False
        self.current = execution
        crash.point("execution.warm")
        self.state, self.trouble = "ready", None
        self._busy_at = time.monotonic()
        log.info("ready")
        return True

    def watch(self, busy: bool) -> str | None:
        """Rotate an execution that is due, release one that was not ``busy`` for long.

        Returns:
            Why the execution failed, or None. After a failure: recover its splits, then `back_off`.

        Raises:
            Fatal: the execution failed of something that only a person can repair.
        """
        execution = self.current
        if execution is None:
            return None
        if execution.ended:
            return self._failed(execution)
        if execution.submitted >= self._limits.execution_splits:
            return self._release(execution, "rotated")
        if busy:
            self._busy_at = time.monotonic()
        elif time.monotonic() - self._busy_at > self._limits.idle_after:
            return self._release(execution, "idle")
        return None

    def back_off(self, reason: str) -> None:
        """Pause, longer after each failure."""
        self._failures += 1
        self.state, self.trouble = "waiting", reason
        pause = retry.EXECUTION.pause(self._failures)
        log.warning("next execution in %.1f s: %s", pause, reason)
        self._stop.wait(pause)

    def drain(self, timeout: float | None, hold: bool) -> str | None:
        """End the current execution when all its splits have come out.

        Args:
            timeout: seconds after which its splits are given up; None: never.
            hold: start no stage of any split any more.

        Returns:
            The dependency failure that was waited out in vain, or None; the splits that wait for it stay planned.
        """
        if (execution := self.current) is None:
            return None
        if hold:
            execution.hold()
        execution.close()
        failure = await_end(
            execution.join,
            lambda: execution.ended,
            lambda: next(iter(execution.report().stalled.values()), None),
            execution.hold,
            timeout=math.inf if timeout is None else timeout,
        )
        self.current = None
        self._metrics.add(m.EXECUTIONS, 1, "drained")
        return failure

    def _release(self, execution: Execution, end: str) -> str | None:
        log.info("execution %d ends: %s", execution.number, end, extra={"execution": execution.number})
        with crash.around("rotate"):
            execution.close()
            execution.join()
        if execution.failure is not None:
            return self._failed(execution)
        self._forget(end)
        self.state = "resting"
        return None

    def _failed(self, execution: Execution) -> str:
        self._forget("failed")
        if isinstance(execution.failure, Fatal):
            raise execution.failure
        number, reason = execution.number, execution.reason
        log.warning("execution %d failed: %s", number, reason, extra={"execution": number})
        if time.time() - execution.started_at > _STEADY_SECONDS:
            self._failures = 0
        return reason

    def _forget(self, end: str) -> None:
        """Drop the current execution once its outcomes are committed: they carry the actors' time, which is dropped too."""
        self._committer.outcomes.join()
        self.current = None
        self._metrics.add(m.EXECUTIONS, 1, end)
        self._committer.actor_time.forget()
