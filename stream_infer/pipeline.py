"""A pipeline: the settings brought to life. The command line, the HTTP face and a user's own code start here."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stream_infer import config
from stream_infer.audit import Audit, audit
from stream_infer.contracts import Sink, Source
from stream_infer.engine.cluster import connect
from stream_infer.engine.stages import StageSpec, plan_stages
from stream_infer.engine.steps import InferStep, ReadStep, WriteStep
from stream_infer.engine.supervisor import Supervisor
from stream_infer.errors import Fatal
from stream_infer.ledger import Ledger
from stream_infer.models import build_model
from stream_infer.plugins import build_sink, build_source
from stream_infer.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


class Pipeline:
    """One pipeline file, or the same settings as objects.

    Example:
        ``Pipeline.from_file("pipeline.yaml").run(until_idle=True)``
    """

    def __init__(self, settings: config.PipelineSettings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self._ledger: Ledger | None = None
        self._supervisor: Supervisor | None = None
        self._stopping = False

    @classmethod
    def from_file(cls, path: str | Path) -> Pipeline:
        """The pipeline of a YAML file. Raises ConfigError."""
        return cls(config.load(path))

    def run(self, until_idle: bool = False) -> None:
        """Run until `stop`, or until everything that is there now is done.

        Raises:
            Fatal: a person must act. Nothing is lost: the next run goes on where this one stopped.
        """
        settings = self.settings
        _warn_of_what_is_not_there(settings)
        sink = build_sink(settings.sink)
        sources = [build_source(item, settings.name, settings.limits) for item in settings.sources]
        ledger = self.ledger()
        ledger.acquire(f"{socket.gethostname()}:{os.getpid()}")
        try:
            stages = self._stages(sources, sink)
            supervisor = Supervisor(settings, ledger, sources, sink, stages, self.metrics, until_idle=until_idle)
            self._supervisor = supervisor
            if self._stopping:
                supervisor.stop()
            supervisor.run()
        finally:
            for source in sources:
                source.close()
        failed = [planner.failure for planner in supervisor.planners if planner.failure]
        if failed:
            raise failed[0]

    def stop(self) -> None:
        """Stop planning, finish what is in flight, commit; `run` then returns. May be called from any thread."""
        self._stopping = True
        if self._supervisor is not None:
            self._supervisor.stop()

    def close(self) -> None:
        """Close the ledger. Safe to call twice."""
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None

    def ledger(self) -> Ledger:
        """The pipeline's ledger, opened when first asked for.

        Raises:
            Fatal: its settings are not those of this pipeline.
            Retryable: the database did not answer.
        """
        if self._ledger is None:
            self._ledger = Ledger.open(self.settings.ledger, fingerprint(self.settings))
        return self._ledger

    def status(self) -> dict[str, Any]:
        """What the ledger and, while it runs, this instance know; a JSON document."""
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
        """What this instance knows of itself; asks neither the ledger nor the cluster."""
        return self._supervisor.status() if self._supervisor else {"state": "starting", "ready": False}

    def audit(self) -> Audit:
        """The ledger held against a plain listing of the output folder."""
        return audit(self.ledger(), build_sink(self.settings.sink))

    def _stages(self, sources: list[Source], sink: Sink) -> list[StageSpec]:
        settings = self.settings
        root = os.getcwd()
        model = build_model(settings.model)
        readers = {source.name: source.reader() for source in sources}
        device = "cuda:0" if settings.model.gpus else "cpu"
        cpus, gpus = connect(root)
        if settings.model.gpus > gpus:
            raise Fatal(f"model.gpus: asks for {settings.model.gpus:g} GPUs and the cluster has {gpus}; write gpus: 0")
        return plan_stages(
            settings,
            ReadStep(readers, settings.preprocess, model, root),
            InferStep(model, settings.model.batch, settings.sink.keep, device),
            WriteStep(sink),
            cpus,
            gpus,
        )


def _warn_of_what_is_not_there(settings: config.PipelineSettings) -> None:
    """Settings of the public face that nothing reads yet must not pass in silence."""
    if settings.rejects.url or settings.rejects.kafka_topic:
        log.warning("rejects.url and rejects.kafka_topic have no effect yet; rejects are in the ledger")
    if settings.telemetry.otlp:
        log.warning("telemetry.otlp has no effect yet; traces are not sent")


def fingerprint(settings: config.PipelineSettings) -> Mapping[str, str]:
    """What must not change under planned work: where the output goes and what a coordinate means."""
    fixed = {"sink.url": settings.sink.url}
    for source in settings.sources:
        fixed[f"sources.{source.name}.kind"] = source.kind
        fixed[f"sources.{source.name}.format"] = source.format
        if isinstance(source, config.FilesSource):
            fixed[f"sources.{source.name}.url"] = source.url
    return fixed
