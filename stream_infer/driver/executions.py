"""One execution after the other: the next is started, an old one rotated, an idle one released, a fallen one noticed."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence

from stream_infer import crash, retry
from stream_infer.config import Limits
from stream_infer.driver.committer import Committer
from stream_infer.driver.drain import await_end
from stream_infer.errors import Fatal, Retryable
from stream_infer.execution.execution import RayExecution
from stream_infer.stages import PoolSpec
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metrics import Metrics

log = logging.getLogger(__name__)
_WARM_SECONDS = 600.0
_STEADY_SECONDS = 300.0  # an execution that lived so long has nothing to do with the failures before it


class Executions:
    """For the control thread.

    Args:
        stop: set when nothing is to be waited for any more.

    Attributes:
        current: the execution that runs; None between two.
        state: ``starting``, ``warming``, ``ready``, ``resting`` (no execution, nothing to do) or ``waiting`` (backing
            off after a failure).
        trouble: why the last one fell or did not start, until the next is ready.
    """

    def __init__(
        self, stages: Sequence[PoolSpec], limits: Limits, committer: Committer, metrics: Metrics, stop: threading.Event
    ) -> None:
        self.current: RayExecution | None = None
        self.state = "starting"
        self.trouble: str | None = None
        self._stages = stages
        self._limits = limits
        self._committer = committer
        self._metrics = metrics
        self._stop = stop
        self._number = 0
        self._failures = 0
        self._busy_at = time.monotonic()

    def start(self) -> bool:
        """Start the next one and warm it up; False, after a pause, where that failed.

        Raises:
            Fatal: no execution can start until a person acts.
        """
        self._number += 1
        self.state = "warming"
        execution = RayExecution(self._number, self._stages, self._limits.attempts, self._committer.outcomes)
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
        """Rotate an old one, release one that was not ``busy`` for long. Why it fell, if it did: recover, then `back_off`.

        Raises:
            Fatal: it fell of something that only a person can repair.
        """
        execution = self.current
        if execution is None:
            return None
        if execution.ended.is_set():
            return self._fallen(execution)
        if execution.submitted >= self._limits.execution_splits:
            return self._released(execution, "rotated")
        if busy:
            self._busy_at = time.monotonic()
        elif time.monotonic() - self._busy_at > self._limits.idle_after:
            return self._released(execution, "idle")
        return None

    def back_off(self, why: str) -> None:
        """Wait, longer after each failure."""
        self._failures += 1
        self.state, self.trouble = "waiting", why
        pause = retry.EXECUTION.pause(self._failures)
        log.warning("next execution in %.1f s: %s", pause, why)
        self._stop.wait(pause)

    def drain(self, timeout: float | None, hold: bool) -> str | None:
        """End the current one when what is in it has come out.

        Args:
            timeout: seconds after which what is in it is given up; None: never.
            hold: start nothing more of what is in it.

        Returns:
            What splits waited for that stay planned because it did not come back.
        """
        if (execution := self.current) is None:
            return None
        if hold:
            execution.hold()
        execution.close()
        away = await_end(
            execution.join,
            execution.ended.is_set,
            lambda: next(iter(execution.waiting().values()), None),
            execution.hold,
            timeout=math.inf if timeout is None else timeout,
        )
        self.current = None
        self._metrics.add(m.EXECUTIONS, 1, "drained")
        return away

    def _released(self, execution: RayExecution, end: str) -> str | None:
        log.info("execution %d ends: %s", execution.number, end, extra={"execution": execution.number})
        with crash.around("rotate"):
            execution.close()
            execution.join()
        if execution.failure is not None:
            return self._fallen(execution)
        self._ended(end)
        self.state = "resting"
        return None

    def _fallen(self, execution: RayExecution) -> str:
        self._ended("failed")
        if isinstance(execution.failure, Fatal):
            raise execution.failure
        told = (execution.number, execution.reason)
        log.warning("execution %d failed: %s", *told, extra={"execution": execution.number})
        if time.time() - execution.started_at > _STEADY_SECONDS:
            self._failures = 0
        return execution.reason

    def _ended(self, how: str) -> None:
        self._committer.outcomes.join()  # first: they tell of the actors' time, which is forgotten then
        self.current = None
        self._metrics.add(m.EXECUTIONS, 1, how)
        self._committer.actor_time.forget()
