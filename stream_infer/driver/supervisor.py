"""The supervisor: keeps an execution running while there is work, and starts a new one when it fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stream_infer import crash
from stream_infer.config import PipelineSettings
from stream_infer.contracts import Sink, Source
from stream_infer.driver.admission import Backlog
from stream_infer.driver.circuit_breaker import CircuitBreaker
from stream_infer.driver.committer import Committer
from stream_infer.driver.executions import Executions, StartExecution
from stream_infer.driver.gauges import Gauges
from stream_infer.driver.planner import Planner
from stream_infer.driver.publisher import DeadLetterPublisher
from stream_infer.driver.recovery import recovered
from stream_infer.driver.sizing import FIRST_RECORDS, FIRST_RECORDS_EXPENSIVE, SplitSizer
from stream_infer.driver.stalls import Stalls
from stream_infer.errors import Fatal
from stream_infer.ledger import Ledger
from stream_infer.splits import Reject, Split
from stream_infer.stages import PoolSpec
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metrics import Metrics
from stream_infer.telemetry.record_metrics import ActorTime
from stream_infer.telemetry.tracing import Tracer

log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.5
_FENCED_SECONDS = (
    60.0  # for splits in flight when another instance owns the ledger; that instance processes them anyway
)
# With an open circuit breaker the process stays up this long: for several scrapes of its metrics and a look at its page.
_BREAKER_OPEN_SECONDS = 60.0
_PUBLISH_SECONDS = 60.0  # for rejects that are not published at the end; the next start publishes the rest
# The attempt tracker counts the workers that one record kills. The attempts in the ledger also grow when the whole service is
# killed, which is not the record's fault: a service that is killed again and again right after its start has the same splits
# in flight each time. So a split of one record is rejected for its attempts only after this many times the limit.
_PATIENCE = 40


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that one instance of a pipeline is made of.

    Attributes:
        pools: the actor pools that each execution has.
        start_execution: starts the execution with the given number, which puts its outcomes on a queue.
        until_idle: end when every source is quiet and everything is committed.
    """

    settings: PipelineSettings
    ledger: Ledger
    sources: Sequence[Source]
    sink: Sink
    pools: Sequence[PoolSpec]
    start_execution: StartExecution
    metrics: Metrics
    publishers: Sequence[DeadLetterPublisher] = ()
    tracer: Tracer | None = None
    until_idle: bool = False


class Supervisor:
    """One instance of a pipeline. `run` occupies the control thread; the other methods may be called from any thread."""

    def __init__(self, parts: Parts) -> None:
        limits, metrics = parts.settings.limits, parts.metrics
        self.settings = parts.settings
        self.metrics = metrics
        self._parts = parts
        self._end_state = ""  # draining, then stopped
        self._ledger = parts.ledger
        self._backlog = _backlog(parts)
        self._sizers = _sizers(parts)
        self._circuit_breaker = CircuitBreaker(limits.circuit_breaker)
        self.planners = _planners(parts, self._backlog, self._sizers)
        by_source = {planner.source.name: planner for planner in self.planners}
        actor_time = ActorTime(metrics)
        pools = [[stage.name for stage in pool.stages] for pool in parts.pools]
        self._gauges = Gauges(metrics, self._backlog, self.planners, actor_time, pools)
        self._committer = Committer(
            parts.ledger,
            parts.sink,
            {source.name: source for source in parts.sources},
            self._backlog,
            self._sizers,
            metrics,
            self._circuit_breaker,
            parts.tracer,
            actor_time=actor_time,
            on_settled=self._gauges.settled,
            source_attributes=lambda name: by_source[name].status.attributes,
        )
        self._stalls = Stalls(metrics, self._backlog)
        metrics.before_scrape(self._gauges.refresh)
        metrics.set(m.IN_FLIGHT_LIMIT_BYTES, limits.in_flight)
        self._stop = threading.Event()
        self._executions = Executions(parts.start_execution, limits, self._committer, metrics, self._stop)

    @property
    def state(self) -> str:
        """`Executions.state` while the service runs; at its end ``draining``, then ``stopped``."""
        return self._end_state or self._executions.state

    def stop(self) -> None:
        """Stop planning, finish what is in flight, commit, and let `run` return."""
        self._stop.set()

    def run(self) -> None:
        """Run until `stop`, or with ``until_idle`` until every source is quiet and everything is committed.

        Raises:
            Fatal: a person must act; the splits in flight stay planned in the ledger.
        """
        self._committer.start()
        for publisher in self._parts.publishers:
            publisher.start()
        try:
            crash.point("recover.begin")
            self._recover(self._ledger.unfinished())
            for planner in self.planners:
                planner.start()
            self._loop()
        finally:
            self._drain()
        if self._circuit_breaker.open_reason is not None:
            # Without this, a few starts before the repair would use up the attempts of the splits in flight.
            self._committer.wait_out(self._ledger.forgive)
            if not self._parts.until_idle:
                self._stop.wait(_BREAKER_OPEN_SECONDS)
            raise Fatal(self._circuit_breaker.sentence(self._ledger.audit()["in_flight"]))

    def status(self) -> dict[str, object]:
        """The state of this instance for the status page, from memory alone."""
        execution = self._executions.current
        rejects = {publisher.target.name: publisher.trouble for publisher in self._parts.publishers}
        return {
            "state": self.state,
            "ready": self.state in ("ready", "resting"),
            "trouble": self._circuit_breaker.open_reason
            or self._executions.trouble
            or self._committer.trouble
            or next(iter(self._stalls.reasons), None)
            or next(filter(None, rejects.values()), None),
            "rejects": rejects,
            "execution": execution.number if execution else None,
            "waiting_splits": self._backlog.waiting,
            "in_flight_splits": self._backlog.in_flight,
            "in_flight_bytes": self._backlog.in_flight_bytes,
            "stalled": list(self._stalls.reasons),
            "circuit_breaker": self._circuit_breaker.open_reason is not None,
            "pools": [
                {"stages": [stage.name for stage in pool.stages], "max_actors": pool.max_actors}
                for pool in self._parts.pools
            ],
            "sources": {
                planner.source.name: {
                    "lag": planner.status.lag.records,
                    "unsettled": planner.status.lag.unsettled,
                    "trouble": planner.trouble,
                    "failure": str(planner.failure) if planner.failure else None,
                }
                for planner in self.planners
            },
        }

    def _loop(self) -> None:
        while not self._stop.is_set() and self._circuit_breaker.open_reason is None:
            self._raise_failures()
            busy = bool(self._backlog.waiting or self._backlog.in_flight)
            if (why := self._executions.watch(busy)) is not None:
                self._recover(self._backlog.returned())
                self._executions.back_off(why)
            self._stalls.update(self._executions.current)
            self._report_gauges()
            if self._parts.until_idle and self._all_done():
                return
            if self._executions.current is None:
                # A service warms up before the first record. A run with ``until_idle`` may have no record, so it waits for one.
                resting = self.state == "resting" or self._parts.until_idle
                if resting and not self._backlog.wait_for_split(_LOOK_SECONDS):
                    continue
                if not self._executions.start():
                    continue
            self._dispatch(self._backlog.take(_LOOK_SECONDS))

    def _all_done(self) -> bool:
        if any(planner.planning for planner in self.planners):
            return False
        return not self._backlog.waiting and not self._backlog.in_flight

    def _raise_failures(self) -> None:
        if self._ledger.fenced is not None:
            raise self._ledger.fenced
        if self._committer.failure is not None:
            raise self._committer.failure
        failed = [planner.failure for planner in self.planners if planner.failure is not None]
        if failed and len(failed) == len(self.planners):
            raise failed[0]

    def _recover(self, splits: Sequence[Split]) -> None:
        self._backlog.offer(recovered(splits, self._committer, self._parts.sink, self._ledger))

    def _dispatch(self, splits: Sequence[Split]) -> None:
        execution = self._executions.current
        if not splits or execution is None:
            return
        limits = self.settings.limits
        limit = limits.attempts
        for taken in splits:
            split = taken if taken.attempt else taken.tried()
            self.metrics.add(m.SPLIT_RETRIES, split.attempt > 1, split.source)
            if split.attempt > (limit * _PATIENCE if split.records <= 1 else limit):
                reason = f"the service ended {split.attempt - 1} times while it was in flight"
                self._committer.poison(
                    split, Reject("", split.source, "read", "Poisoned", reason, split.attempt, time.time())
                )
            else:
                with crash.around("dispatch"):
                    deadline = self._sizers[split.source].deadline(split.records, limits.split_timeout)
                    execution.submit(split, deadline)

    def _report_gauges(self) -> None:
        """Set the gauges whose values only the control thread may read."""
        execution = self._executions.current
        self._gauges.state = self.state
        self._gauges.actors = execution.actors() if execution is not None else {}
        self._gauges.execution = execution.number if execution is not None else 0

    def _drain(self) -> None:
        """Finish the splits in flight and commit them; waiting splits stay planned in the ledger."""
        self._end_state = "draining"
        crash.point("drain.begin")
        for planner in self.planners:
            planner.stop_planning()
        self._backlog.drop_waiting()
        # An open circuit breaker lets no stage start: a split that kills its workers or hangs would take all its attempts first.
        timeout = _FENCED_SECONDS if self._ledger.fenced is not None else None
        trouble = self._executions.drain(timeout, hold=self._circuit_breaker.open_reason is not None)
        crash.point("drain.executed")
        trouble = self._committer.finish() or trouble
        crash.point("drain.committed")
        for publisher in self._parts.publishers:
            publisher.finish(_PUBLISH_SECONDS)
        for planner in self.planners:
            planner.finish()
        for planner in self.planners:
            if planner.is_alive():
                planner.join(30.0)
        self._end_state = "stopped"
        self._report_gauges()
        crash.point("drain.end")
        if trouble is not None:
            log.warning("stopped; the next start continues the splits that waited for a dependency: %s", trouble)
        elif self._ledger.fenced is None and self._circuit_breaker.open_reason is None:
            log.info("everything is committed")


def _backlog(parts: Parts) -> Backlog:
    actors = sum(pool.max_actors for pool in parts.pools)
    return Backlog(parts.settings.limits.in_flight, in_flight_splits=4 * actors + 4, waiting_splits=2 * actors + 2)


def _planners(parts: Parts, backlog: Backlog, sizers: Mapping[str, SplitSizer]) -> list[Planner]:
    """A planner for each source."""
    return [
        Planner(
            source,
            parts.ledger,
            backlog,
            sizers[source.name],
            parts.settings.limits,
            parts.settings.sink.partition,
            parts.until_idle,
            parts.metrics,
        )
        for source in parts.sources
    ]


def _sizers(parts: Parts) -> dict[str, SplitSizer]:
    """Split sizers by source."""
    first = FIRST_RECORDS if parts.settings.model.cheap else FIRST_RECORDS_EXPENSIVE
    fused, actors = len(parts.pools) == 1, max(pool.max_actors for pool in parts.pools)
    most = parts.settings.limits.split_records
    return {source.name: SplitSizer(most, first=first, fused=fused, actors=actors) for source in parts.sources}
