"""The planner of one source: asks the source for new splits, stores them in the ledger, offers them to the backlog."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeVar

from stream_infer import crash, retry
from stream_infer.config import Limits
from stream_infer.contracts import PlanBudget, Planned, Source, SourceStatus
from stream_infer.driver import losses
from stream_infer.driver.admission import Backlog
from stream_infer.driver.sizing import SplitSizer
from stream_infer.errors import Fatal, Fenced, Retryable
from stream_infer.ledger import Ledger
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry import record_metrics
from stream_infer.telemetry.metrics import Metrics

log = logging.getLogger(__name__)
T = TypeVar("T")
_QUIET_SECONDS = 5.0  # longest wait between two plans; offsets and after-actions are at most so late
_BUSY_SECONDS = 0.5
_ACKNOWLEDGE_SECONDS = 1.0
_PAGE = 1000
_PROBES = 4  # waiting splits of a source whose cost is still a guess: a planned split keeps its size
_GROUP = 64  # plans of one transaction


class Planner(threading.Thread):
    """Owns its source: other threads call only `Source.wake` and `Source.reader`.

    Attributes:
        failure: why this source stopped for good, if it did.
        trouble: the dependency failure that is waited out now; None if there is none.
        status: of the source, as of the last plan.
    """

    def __init__(
        self,
        source: Source,
        ledger: Ledger,
        backlog: Backlog,
        sizer: SplitSizer,
        limits: Limits,
        date_by: str,
        until_idle: bool,
        metrics: Metrics | None = None,
    ) -> None:
        super().__init__(name=f"planner-{source.name}", daemon=True)
        self.source = source
        self.failure: Fatal | None = None
        self.trouble: str | None = None
        self.status = SourceStatus()
        self._ledger = ledger
        self._backlog = backlog
        self._sizer = sizer
        self._limits = limits
        self._date_by = date_by
        self._until_idle = until_idle
        self._halt = threading.Event()
        self._drained = threading.Event()
        self._planned_all = threading.Event()
        self._acknowledged_at = 0.0
        self._looked_at = 0.0
        self._position = ledger.position(source.name)
        self._metrics = metrics or Metrics([source.name])
        self._committed_offsets: Mapping[str, int] | None = None

    @property
    def planning(self) -> bool:
        """Whether more splits may be planned."""
        return not self._planned_all.is_set()

    def stop_planning(self) -> None:
        self._halt.set()
        self.source.wake()

    def finish(self) -> None:
        """Acknowledge the rest, close the source and end; for when everything is committed."""
        self.stop_planning()
        self._drained.set()

    def run(self) -> None:
        try:
            self._plan_until_stopped()
        except Fatal as error:
            self.failure = error
            if not isinstance(error, Fenced):  # no failure of this source: the supervisor logs it once
                log.error("source %s stops: %s", self.source.name, error, extra={"source": self.source.name})
        except Exception as error:  # a source with a defect must not look like a source without records
            self.failure = Fatal(f"source {self.source.name} failed: {type(error).__name__}: {error}")
            log.exception("source %s stops", self.source.name, extra={"source": self.source.name})
        self._planned_all.set()
        try:
            while not self._drained.wait(_ACKNOWLEDGE_SECONDS):
                self._acknowledge()
            self._acknowledge(last=True)
        finally:
            self.source.close()

    def _plan_until_stopped(self) -> None:
        while not self._halt.is_set():
            self._acknowledge()
            capacity = self._backlog.capacity(_BUSY_SECONDS, self.source.name, _PROBES if self._sizer.probing else None)
            if not capacity:
                self._update_lag()
                continue
            planned = self._wait_out(partial(self._plan_once, capacity))
            if planned is None:
                return
            if not planned:
                if self._until_idle and not self.status.lag.unsettled and not self.status.lag.records:
                    return
                self._rest(_BUSY_SECONDS if self._until_idle or self._acknowledgement_due() else _QUIET_SECONDS)

    def _update_lag(self) -> None:
        """Update the lag while no split may be planned. During an outage this lasts hours, and the lag grows."""
        if time.monotonic() - self._looked_at >= _QUIET_SECONDS:
            self._wait_out(partial(self._plan_new, 0))

    def _plan_once(self, capacity: int) -> int:
        plans = self._replay_once(max(1, capacity // 2))
        return plans + self._plan_new(max(1, capacity - plans))

    def _replay_once(self, most: int) -> int:
        """Plan rejects again whose replay was requested; returns their number."""
        requested = self._ledger.replayable(self.source.name, most)
        replays = [(rejected, split.for_replay(rejected.reject, rejected.replays + 1)) for rejected, split in requested]
        if not replays:
            return 0
        crash.point("replay.step")
        added = self._wait_out(lambda: self._ledger.replay(self.source.name, replays))
        crash.point("replay.stored")
        if added:
            log.info("source %s: %d rejects are replayed", self.source.name, len(added))
            self._backlog.offer(added)
        return len(replays)

    def _plan_new(self, capacity: int) -> int:
        self._looked_at = time.monotonic()
        limits = self._limits
        freshness = 0.0 if self._until_idle else limits.freshness
        budget = PlanBudget(
            splits=capacity,
            records=self._sizer.records(self.status.lag.records, self.status.lag.bytes),
            bytes=limits.split_bytes,
            freshness=freshness,
            now=time.time(),
            date_by=self._date_by,
            record_bytes=self._sizer.record_bytes(),
        )
        plans = 0
        for group in _grouped(self.source.plan(self._position, budget)):
            # After a failure the same plans are stored again. If only the reply was lost, the ledger has them already, and new
            # plans would skip their records.
            crash.point("plan.step")
            added = self._wait_out(partial(self._ledger.plan, self.source.name, group))
            if added is None:
                break
            crash.point("plan.stored")
            self._backlog.offer(added)
            lost = [loss for planned in group for loss in planned.losses]
            record_metrics.lost(self._metrics, lost)
            losses.report(lost)
            plans += len(group)
            if self._halt.is_set():
                break
        self.status = self.source.status(self._committed_offsets or {})
        return plans

    def _wait_out(self, call: Callable[[], T]) -> T | None:
        """The result of a call, repeated while a dependency fails; None once planning is stopped."""

        def report(error: Retryable) -> None:
            self.trouble = str(error)
            self._metrics.add(m.DEPENDENCY_ERRORS, 1, "plan", error.dependency)
            log.warning("source %s waits: %s", self.source.name, error, extra={"source": self.source.name})

        try:
            result = retry.PLAN.wait_out(call, on_failure=report, stop=self._halt)
        except Retryable:
            return None
        self.trouble = None
        return result

    def _rest(self, seconds: float) -> None:
        try:
            self.source.wait(seconds)
        except Retryable as error:  # the next plan waits the failure out
            self.trouble = str(error)
            self._halt.wait(_BUSY_SECONDS)

    def _acknowledgement_due(self) -> bool:
        """Whether committed splits are to be acknowledged soon."""
        return self._backlog.in_flight > 0 or time.monotonic() - self._acknowledged_at < _ACKNOWLEDGE_SECONDS

    def _acknowledge(self, last: bool = False) -> None:
        """Report committed splits to the source. The ledger keeps those whose report failed for the next call."""
        if self._ledger.fenced is not None:
            return
        if not last and time.monotonic() - self._acknowledged_at < _ACKNOWLEDGE_SECONDS:
            return
        try:
            while splits := self._ledger.unacknowledged(self.source.name, _PAGE):
                self._committed_offsets = self._ledger.committed_offsets(self.source.name)
                with crash.around("source.committed"):
                    self.source.committed(splits, self._committed_offsets)
                self._ledger.acknowledge([split.split_id for split in splits])
                if len(splits) < _PAGE:
                    break
            if self._committed_offsets is None:
                self._committed_offsets = self._ledger.committed_offsets(self.source.name)
            self.status = self.source.status(self._committed_offsets)
        except Retryable as error:
            log.warning("source %s: committed work is not acknowledged yet: %s", self.source.name, error)
        except Fenced:
            return  # the supervisor logs it once
        self._acknowledged_at = time.monotonic()


def _grouped(plans: Iterator[Planned]) -> Iterator[list[Planned]]:
    """Plans to store in one transaction: a transaction costs as much as dozens of plans. A plan without a split ends its group."""
    group: list[Planned] = []
    for planned in plans:
        group.append(planned)
        if planned.split is None or len(group) == _GROUP:
            yield group
            group = []
    if group:
        yield group
