"""A pipeline: one instance of the service from its settings, for the command line, the HTTP API and a user's own code."""

from __future__ import annotations

import logging
import os
import platform
import socket
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray

from stream_infer import config, retry
from stream_infer.builders import build_model, build_reject_targets, build_sink, build_source
from stream_infer.contracts import RejectTarget, Sink, Source
from stream_infer.driver.publisher import DeadLetterPublisher, Samples
from stream_infer.driver.standby import Standby, owning
from stream_infer.driver.supervisor import Parts, Supervisor
from stream_infer.execution.cluster import connect
from stream_infer.execution.execution import RayExecution
from stream_infer.execution.pools import plan_pools
from stream_infer.ledger import Ledger
from stream_infer.ledger.renewal import renewed
from stream_infer.maintenance.audit import Audit, audit
from stream_infer.maintenance.rebuild import Rebuilt, rebuild, settled
from stream_infer.maintenance.rollback_check import refuse_older_ledger
from stream_infer.rejects import RejectQuery, RejectStatus
from stream_infer.search_path import search_path
from stream_infer.stages import PoolSpec, model_demand
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metrics import Metrics
from stream_infer.telemetry.tracing import tracing
from stream_infer.worker.stages import InferStage, ReadStage, WriteStage

log = logging.getLogger(__name__)
ALL = RejectQuery()


class Pipeline:
    """One pipeline file, or the same settings as objects.

    Example:
        ``Pipeline.from_file("pipeline.yaml").run(until_idle=True)``
    """

    def __init__(self, settings: config.PipelineSettings) -> None:
        self.settings = settings
        self.metrics = Metrics([source.name for source in settings.sources], settings.model.shown_name)
        self.metrics.set(m.START_TIME_SECONDS, time.time())
        self.metrics.info(m.BUILD_INFO, version("stream-infer"), platform.python_version(), ray.__version__)
        self._ledger: Ledger | None = None
        self._opening = threading.Lock()
        self._supervisor: Supervisor | None = None
        self._stopping = threading.Event()
        self._state = "starting"

    @classmethod
    def from_file(cls, path: str | Path) -> Pipeline:
        """The pipeline of a YAML file. Raises ConfigError."""
        return cls(config.load(path))

    def run(self, until_idle: bool = False, standby: bool = False) -> None:
        """Run until `stop`; with ``until_idle`` until all present input is processed.

        Takes the ledger from its owner at once; with ``standby`` only when the owner has ended or is silent.

        Raises:
            Fatal: a person must act. Nothing is lost: the next run continues where this one stopped.
        """
        settings = self.settings
        # Before the ledger is taken: a wrong setting must not stop the instance that owns it.
        sink = build_sink(settings.sink)
        sources = [build_source(item, settings.name, settings.limits) for item in settings.sources]
        targets = build_reject_targets(settings)
        try:
            ledger = self.ledger()
            if self._own(ledger, standby):
                with owning(ledger):
                    self._work(ledger, sources, sink, targets, until_idle)
        finally:
            for source in sources:
                source.close()

    def _own(self, ledger: Ledger, standby: bool) -> bool:
        name = f"{socket.gethostname()}:{os.getpid()}"
        if not standby:
            ledger.acquire(name)
            return True
        self._state = "standby"
        self.metrics.set(m.STANDBY, 1)
        taken = Standby(ledger, name, self._stopping.wait).take()
        self._state = "starting"
        self.metrics.set(m.STANDBY, 0)
        return taken

    def _work(
        self, ledger: Ledger, sources: list[Source], sink: Sink, targets: list[RejectTarget], until_idle: bool
    ) -> None:
        self._check_output(ledger, sink)
        self.metrics.set(m.LEDGER_EPOCH, ledger.epoch)
        pools = self._pools(sources, sink)
        if self.settings.rejects.sample:
            targets = [*targets, Samples(ledger, self.settings.rejects.sample)]
        readers = {source.name: source.reader() for source in sources}
        publishers = [DeadLetterPublisher(target, ledger, readers, self.metrics) for target in targets]
        with tracing(
            self.settings.telemetry, self.settings.name, self.metrics, config.Redactor(self.settings)
        ) as tracer:
            attempts = self.settings.limits.attempts
            supervisor = Supervisor(
                Parts(
                    self.settings,
                    ledger,
                    sources,
                    sink,
                    pools,
                    lambda number, outcomes: RayExecution(number, pools, attempts, outcomes),
                    self.metrics,
                    publishers=publishers,
                    tracer=tracer,
                    until_idle=until_idle,
                )
            )
            self._supervisor = supervisor
            if self._stopping.is_set():
                supervisor.stop()
            supervisor.run()
        failed = [planner.failure for planner in supervisor.planners if planner.failure]
        if failed:
            raise failed[0]

    def stop(self) -> None:
        """Stop planning, finish the splits in flight and commit them; `run` then returns. For any thread."""
        self._stopping.set()
        if self._supervisor is not None:
            self._supervisor.stop()

    def close(self) -> None:
        """Close the ledger. A second call does nothing."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def ledger(self) -> Ledger:
        """The pipeline's ledger, opened when first asked for.

        Raises:
            Fatal: its settings are not those of this pipeline.
            Retryable: the database did not answer.
        """
        with self._opening:  # another thread may request the status while the service starts
            if self._ledger is None:
                self._ledger = Ledger.open(self.settings.ledger, self.settings.fingerprint())
            return self._ledger

    def status(self) -> dict[str, Any]:
        """The state of the pipeline as a JSON document, from the ledger and from this instance if it runs."""
        stored = self.ledger().status()
        live = self.live()
        running = live.pop("sources", {})
        sources = [
            {"name": name, **stored["sources"].get(name, {}), **running.get(name, {})}
            for name in (source.name for source in self.settings.sources)
        ]
        records = {
            "committed": sum(source.get("rows", 0) for source in sources),
            "rejected": sum(source.get("rejected", 0) for source in sources),
            "lost": sum(source.get("lost", 0) for source in sources),
            "in_flight": sum(source.get("in_flight", 0) for source in sources),
        }
        records["planned"] = sum(records.values())
        owner = {key: stored[key] for key in ("epoch", "owner", "acquired_at")}
        return {"pipeline": self.settings.name, **live, **owner, "records": records, "sources": sources}

    def live(self) -> dict[str, Any]:
        """The state of this instance, from memory alone: neither the ledger nor the cluster is queried."""
        return self._supervisor.status() if self._supervisor else {"state": self._state, "ready": False}

    def rejects(
        self, query: RejectQuery = ALL, limit: int = 1000, offset: int = 0, newest: bool = False
    ) -> list[RejectStatus]:
        """Rejects in the order of their first commit; with ``newest`` in the opposite order."""
        return self.ledger().rejected(query, limit, offset, newest)

    def replay(self, query: RejectQuery = ALL) -> int:
        """Request a replay of the open rejects that match now; returns their number.

        The request is durable when this returns. The instance that owns the ledger plans them within seconds, or the next
        instance at its start.
        """
        return self.ledger().request_replay(query)

    def rebuild(self, force: bool = False, settle: float = 15.0) -> tuple[Rebuilt, str | None]:
        """Rebuild a lost ledger from the receipts in the output; no instance may run meanwhile.

        Args:
            force: rename a ledger that has work; its new name is the second result.
            settle: seconds without a new file after which the output counts as complete.

        Raises:
            Fatal: the ledger has work and ``force`` is not given.
            Retryable: a store, a broker or the database did not answer; nothing has changed, call again.
        """
        settings = self.settings
        sink = build_sink(settings.sink)
        sources = [build_source(item, settings.name, settings.limits) for item in settings.sources]
        owner = f"rebuild:{socket.gethostname()}:{os.getpid()}"
        try:
            with renewed(settings.ledger, settings.fingerprint(), owner, force=force) as (ledger, kept):
                receipts = settled(sink, settle)
                return rebuild(ledger, receipts, sources, settings.limits.split_records), kept
        finally:
            for source in sources:
                source.close()

    def audit(self) -> Audit:
        """The comparison of the ledger with a plain listing of the output folder."""
        return audit(self.ledger(), build_sink(self.settings.sink))

    def _check_output(self, ledger: Ledger, sink: Sink) -> None:
        """Raise Fatal if the ledger is older than its output. Waits for a store that does not answer."""
        names = [source.name for source in self.settings.sources]
        retry.PLAN.wait_out(
            lambda: refuse_older_ledger(ledger, sink, names),
            on_failure=lambda error: log.warning("the start waits: %s", error),
            stop=self._stopping,
        )

    def _pools(self, sources: list[Source], sink: Sink) -> list[PoolSpec]:
        settings = self.settings
        model, keep = build_model(settings.model), settings.sink.keep
        readers = {source.name: source.reader() for source in sources}
        demand = model_demand(settings.model, model.weights)
        stages = (
            ReadStage(readers, settings.preprocess, [model], keep, search_path(), settings.limits.decoded),
            InferStage(model, settings.model.batch, keep, demand),
            WriteStage(sink),
        )
        return plan_pools(stages, connect(), settings.stages)
