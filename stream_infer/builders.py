"""Construction of sources, sinks, models and reject targets from the settings, by the installed plugins."""

from __future__ import annotations

from stream_infer import config
from stream_infer.contracts import Model, RejectTarget, Sink, Source
from stream_infer.plugins import MODELS, SINKS, SOURCES, plugin, reject_plugins


def build_source(settings: config.SourceSettings, pipeline: str, limits: config.Limits) -> Source:
    """The source of the settings, without an open connection.

    Raises:
        ConfigError: no installed package offers the kind, what it requires is not installed, or a setting is wrong.
    """
    chosen = plugin(SOURCES, settings.kind, f"sources.{settings.name}.kind")
    source: Source = chosen.build(settings, pipeline=pipeline, limits=limits)
    return source


def build_sink(settings: config.SinkSettings) -> Sink:
    """The sink of the settings. Raises ConfigError as `build_source` does."""
    sink: Sink = plugin(SINKS, settings.kind, "sink.kind").build(settings)
    return sink


def build_model(settings: config.ModelSettings) -> Model:
    """The model of the settings: picklable, checked as far as can be without its weights, not yet loaded.

    Raises:
        ConfigError: as `build_source` does; or a folder, file, class or option does not exist.
    """
    model: Model = plugin(MODELS, settings.kind, "model.kind").build(settings)
    return model


def build_reject_targets(settings: config.PipelineSettings) -> list[RejectTarget]:
    """The targets of rejects besides the ledger. Raises ConfigError as `build_source` does."""
    targets = [offered.build(settings.rejects, settings.sources) for offered in reject_plugins()]
    return [target for target in targets if target is not None]
