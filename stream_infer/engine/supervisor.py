"""The supervisor: keeps a generation running while there is work, and puts it back on its feet when it falls."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from stream_infer import crash
from stream_infer.config import PipelineSettings
from stream_infer.contracts import Sink, Source
from stream_infer.engine.admission import Backlog
from stream_infer.engine.committer import Committer
from stream_infer.engine.gauges import Gauges
from stream_infer.engine.generation import Generation
from stream_infer.engine.layout import StageSpec
from stream_infer.engine.planner import Planner
from stream_infer.engine.publisher import Publisher
from stream_infer.engine.sizing import FIRST_RECORDS, FIRST_RECORDS_DEAR, SplitSizer
from stream_infer.engine.storm import Storm
from stream_infer.engine.waits import Waits
from stream_infer.errors import Fatal, Retryable
from stream_infer.ledger import Ledger
from stream_infer.splits import Reject, Split
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metrics import Metrics
from stream_infer.telemetry.tracing import Tracer

log = logging.getLogger(__name__)
_LOOK_SECONDS = 0.5
_WARM_SECONDS = 600.0
_FENCED_SECONDS = 60.0  # for what is in flight when another instance owns the ledger: that one does it anyway
_STORM_SECONDS = 60.0  # that a line which stands can still be seen: several scrapes of its metrics, a look at its page
_PUBLISH_SECONDS = 60.0  # for rejects that wait at the end; a target that fails by then is told by the next start
# A split of one record is rejected for killing its worker only on the gate's word. The durable count also grows when
# the whole service is killed, which is not the record's fault: what is in flight when a service ends again and again right
# after its start is there every time. So there it takes this many times the limit.
_PATIENCE = 40


class Supervisor:
    """One instance of a pipeline. `run` is the control thread; the other methods may be called from any thread.

    Attributes:
        state: ``starting``, ``warming``, ``ready``, ``resting`` (no generation, nothing to do), ``waiting`` (backing
            off after a failure), ``draining`` or ``stopped``.
    """

    def __init__(
        self,
        settings: PipelineSettings,
        ledger: Ledger,
        sources: Sequence[Source],
        sink: Sink,
        stages: Sequence[StageSpec],
        metrics: Metrics,
        *,
        until_idle: bool,
        publishers: Sequence[Publisher] = (),
        tracer: Tracer | None = None,
    ) -> None:
        self.settings = settings
        self.metrics = metrics
        self.state = "starting"
        self.trouble: str | None = None
        self._ledger = ledger
        self._sink = sink
        self._stages = stages
        self._until_idle = until_idle
        self._publishers = publishers
        actors = sum(stage.max_actors for stage in stages)
        limits = settings.limits
        self._backlog = Backlog(limits.in_flight, in_flight_splits=4 * actors + 4, waiting_splits=2 * actors + 2)
        first = FIRST_RECORDS if settings.model.kind == "python" else FIRST_RECORDS_DEAR
        side_by_side = max(stage.max_actors for stage in stages)
        self._sizers = {
            source.name: SplitSizer(limits.split_records, first=first, fused=len(stages) == 1, actors=side_by_side)
            for source in sources
        }
        self._storm = Storm(limits.storm)
        by_name = {source.name: source for source in sources}
        self._committer = Committer(ledger, sink, by_name, self._backlog, self._sizers, metrics, self._storm, tracer)
        self.planners = [
            Planner(
                *(
                    source,
                    ledger,
                    self._backlog,
                    self._sizers[source.name],
                    limits,
                    settings.sink.partition,
                    until_idle,
                ),
                metrics,
            )
            for source in sources
        ]
        pools = [[step.name for step in stage.steps] for stage in stages]
        self._gauges = Gauges(metrics, self._backlog, self.planners, self._committer.actor_time, pools)
        self._committer.on_settled = self._gauges.settled
        self._waits = Waits(metrics, self._backlog)
        metrics.before_scrape(self._gauges.refresh)
        metrics.set(m.IN_FLIGHT_LIMIT_BYTES, limits.in_flight)
        self._stop = threading.Event()
        self._generation: Generation | None = None
        self._generations = 0
        self._failures = 0
        self._busy_at = time.monotonic()

    def stop(self) -> None:
        """Stop planning, finish what is in flight, commit, and let `run` return."""
        self._stop.set()

    def run(self) -> None:
        """Run until `stop`, or with ``until_idle`` until every source is quiet and everything is committed.

        Raises:
            Fatal: a person must act; what was in flight is safe in the ledger.
        """
        self._committer.start()
        for publisher in self._publishers:
            publisher.start()
        try:
            crash.point("recover.begin")
            self._recover(self._ledger.unfinished())
            for planner in self.planners:
                planner.start()
            self._loop()
        finally:
            self._drain()
        if self._storm.stands is not None:
            self._committer.patiently(
                self._ledger.forgive
            )  # or it would be poisoned after a few starts that change nothing
            if not self._until_idle:
                self._stop.wait(_STORM_SECONDS)
            raise Fatal(self._storm.sentence(self._ledger.audit()["in_flight"]))

    def status(self) -> dict[str, object]:
        """The state of this instance, for the status page; asks nobody."""
        generation = self._generation
        rejects = {publisher.target.name: publisher.trouble for publisher in self._publishers}
        return {
            "state": self.state,
            "ready": self.state in ("ready", "resting"),
            "trouble": self._storm.stands
            or self.trouble
            or self._committer.trouble
            or next(iter(self._waits.told), None)
            or next(filter(None, rejects.values()), None),
            "rejects": rejects,
            "generation": generation.number if generation else None,
            "waiting_splits": self._backlog.waiting,
            "in_flight_splits": self._backlog.in_flight,
            "in_flight_bytes": self._backlog.in_flight_bytes,
            "stalled": list(self._waits.told),
            "storm": self._storm.stands is not None,
            "stages": [
                {"steps": [step.name for step in stage.steps], "max_actors": stage.max_actors} for stage in self._stages
            ],
            "sources": {
                planner.source.name: {
                    "lag": planner.lag.records,
                    "unsettled": planner.lag.unsettled,
                    "trouble": planner.trouble,
                    "failure": str(planner.failure) if planner.failure else None,
                }
                for planner in self.planners
            },
        }

    def _loop(self) -> None:
        while not self._stop.is_set() and self._storm.stands is None:
            self._raise_failures()
            self._watch_generation()
            self._waits.look(self._generation)
            self._tell_gauges()
            if self._until_idle and self._all_done():
                return
            if self._generation is None:
                # A service warms up before the first record; a run to the end may find that there is none.
                resting = self.state == "resting" or self._until_idle
                if resting and not self._backlog.wait_waiting(_LOOK_SECONDS):
                    continue
                if not self._start_generation():
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

    def _start_generation(self) -> bool:
        self._generations += 1
        self.state = "warming"
        generation = Generation(
            self._generations, self._stages, self.settings.limits.attempts, self._committer.outcomes
        )
        try:
            generation.warm(_WARM_SECONDS)
        except (Retryable, Fatal) as error:
            generation.close()
            self.metrics.add(m.GENERATIONS, 1, "failed")
            if isinstance(error, Fatal):
                raise
            self._back_off(str(error))
            return False
        self._generation = generation
        crash.point("generation.warm")
        self._ready()
        return True

    def _ready(self) -> None:
        self.state, self.trouble = "ready", None
        self._busy_at = time.monotonic()
        log.info("ready")

    def _watch_generation(self) -> None:
        """Notice a failed generation; rotate one that is old, release one that is idle."""
        generation = self._generation
        if generation is None:
            return
        if generation.ended.is_set():
            self._fallen(generation)
        elif generation.submitted >= self.settings.limits.generation_splits:
            self._release(generation, "rotated")
        elif self._backlog.waiting or self._backlog.in_flight:
            self._busy_at = time.monotonic()
        elif time.monotonic() - self._busy_at > self.settings.limits.idle_after:
            self._release(generation, "idle")

    def _release(self, generation: Generation, end: str) -> None:
        log.info("generation %d ends: %s", generation.number, end, extra={"generation": generation.number})
        with crash.around("rotate"):
            generation.close()
            generation.join()
        if generation.failure is not None:
            self._fallen(generation)
            return
        self._committer.outcomes.join()
        self.metrics.add(m.GENERATIONS, 1, end)
        self._committer.actor_time.forget()
        self._generation = None
        self.state = "resting"

    def _fallen(self, generation: Generation) -> None:
        self._generation = None
        self.metrics.add(m.GENERATIONS, 1, "failed")
        self._committer.actor_time.forget()
        if isinstance(generation.failure, Fatal):
            raise generation.failure
        self._committer.outcomes.join()
        told = (generation.number, generation.reason)
        log.warning("generation %d failed: %s", *told, extra={"generation": generation.number})
        self._recover(self._backlog.returned())
        if time.time() - generation.started_at > 300:
            self._failures = 0
        self._back_off(generation.reason)

    def _back_off(self, why: str) -> None:
        self._failures += 1
        self.state, self.trouble = "waiting", why
        pause = min(60.0, 0.5 * 2 ** min(self._failures, 8)) * random.uniform(0.5, 1.0)
        log.warning("next generation in %.1f s: %s", pause, why)
        self._stop.wait(pause)

    def _recover(self, splits: Sequence[Split]) -> None:
        """Adopt the files that stand already; only the rest is computed again, its attempt counted durably first.

        The first attempt needs no transaction of its own: a split that is planned may have been tried once.
        """
        with ThreadPoolExecutor(16, thread_name_prefix="adopt") as pool:
            found = pool.map(lambda split: self._committer.patiently(lambda: self._sink.find(split)), splits)
            standing = {split.split_id: receipt for split, receipt in zip(splits, found, strict=True) if receipt}
        crash.point("recover.found")
        for split in splits:
            if split.split_id in standing:
                self._committer.adopt(split, standing[split.split_id])
        rest = [split for split in splits if split.split_id not in standing]
        crash.point("recover.adopted")
        again = self._committer.patiently(lambda: self._ledger.attempt(rest))
        crash.point("recover.counted")
        self._backlog.offer([split.tried() for split in again])
        if splits:
            log.info("%d splits were unfinished; %d files of theirs are adopted", len(splits), len(standing))

    def _dispatch(self, splits: Sequence[Split]) -> None:
        if not splits or self._generation is None:
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
                    self._generation.submit(split, deadline)

    def _tell_gauges(self) -> None:
        """What only this thread may ask."""
        generation = self._generation
        self._gauges.state = self.state
        self._gauges.actors = generation.actors() if generation is not None else {}
        self._gauges.generation = generation.number if generation is not None else 0

    def _drain(self) -> None:
        """Finish what is in flight and commit it; whatever only waited is safe in the ledger."""
        self.state = "draining"
        crash.point("drain.begin")
        for planner in self.planners:
            planner.stop_planning()
        self._backlog.drop_waiting()
        fenced = self._ledger.fenced is not None
        if self._generation is not None:
            if self._storm.stands is not None:  # a split that kills or hangs would need all its attempts to come out
                self._generation.hold()
            self._generation.close()
            self._generation.join(_FENCED_SECONDS if fenced else None)
            self._generation = None
            self.metrics.add(m.GENERATIONS, 1, "drained")
        crash.point("drain.executed")
        self._committer.finish()
        self._committer.join()
        crash.point("drain.committed")
        for publisher in self._publishers:
            publisher.finish(_PUBLISH_SECONDS)
        for planner in self.planners:
            planner.finish()
        for planner in self.planners:
            if planner.is_alive():
                planner.join(30.0)
        self.state = "stopped"
        self._tell_gauges()
        crash.point("drain.end")
        if self._ledger.fenced is None and self._storm.stands is None:
            log.info("everything is committed")
