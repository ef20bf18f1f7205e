"""Connectors, found by their entry points: the core names none of them."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any, cast

from stream_infer import config
from stream_infer.contracts import RejectTarget, Sink, Source
from stream_infer.errors import ConfigError


def build_source(settings: config.SourceSettings, pipeline: str, limits: config.Limits) -> Source:
    """The source of the settings. Opens no connection yet.

    Raises:
        ConfigError: no installed package offers this kind.
    """
    kind = str(getattr(settings, "kind", ""))
    return cast(Source, _load("stream_infer.sources", kind).from_config(settings, pipeline=pipeline, limits=limits))


def build_sink(settings: config.ParquetSink) -> Sink:
    """The sink of the settings. Raises ConfigError as `build_source` does."""
    return cast(Sink, _load("stream_infer.sinks", settings.kind).from_config(settings))


def build_reject_targets(settings: config.PipelineSettings) -> list[RejectTarget]:
    """Where rejects are published besides the ledger. Raises ConfigError as `build_source` does."""
    rejects = settings.rejects
    found: list[RejectTarget] = []
    if rejects.url is not None:
        found.append(_load("stream_infer.sinks", settings.sink.kind).rejects(rejects))
    if rejects.kafka_topic is not None:
        clusters = [source for source in settings.sources if isinstance(source, config.KafkaSource)]
        found.append(_load("stream_infer.sources", "kafka").rejects(rejects, clusters))
    return found


def _load(group: str, kind: str) -> Any:
    found = {entry.name: entry for entry in entry_points(group=group)}
    if kind not in found:
        raise ConfigError(
            f"kind: no installed package offers {kind!r} for {group}; there is {', '.join(sorted(found))}"
        )
    return found[kind].load()
