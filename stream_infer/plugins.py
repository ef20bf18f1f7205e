"""Plugins: what an installed package adds to a pipeline file, by its entry points.

A package offers a source, a sink, a model or a format by an entry point whose name is the ``kind`` of its settings:

    [project.entry-points."stream_infer.sources"]
    numbers = "my_package:NUMBERS"

The entry point of a source, a sink or a model loads a `Plugin`; that of a format loads a `decode.format.Format`.
Loading must be cheap: the functions of a plugin import their clients when they are called.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, Final

from stream_infer.errors import ConfigError

log = logging.getLogger(__name__)
SOURCES: Final = "stream_infer.sources"
SINKS: Final = "stream_infer.sinks"
MODELS: Final = "stream_infer.models"
FORMATS: Final = "stream_infer.formats"


@dataclass(frozen=True, slots=True)
class RejectPlugin:
    """A target of rejects beside the ledger.

    Attributes:
        settings: subclass of `config.Rejects`; its fields become fields of the section ``rejects``.
        build: called with the section and the settings of all sources; returns a `contracts.RejectTarget`, or None
            where the section does not ask for this target.
    """

    settings: type[Any]
    build: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Plugin:
    """A source, a sink or a model that an installed package offers.

    Attributes:
        settings: subclass of `config.SourceSettings`, `config.SinkSettings` or `config.ModelSettings` with a field
            ``kind`` of one literal.
        build: a source: ``build(settings, pipeline=NAME, limits=LIMITS)``; a sink or a model: ``build(settings)``.
        requires: modules that `build` imports and that the package's core install lacks.
        extra: requirement that installs them.
        default: this kind is taken where the file names none.
        rejects: the target of rejects that comes along.
    """

    settings: type[Any]
    build: Callable[..., Any]
    requires: tuple[str, ...] = ()
    extra: str = ""
    default: bool = False
    rejects: RejectPlugin | None = None


def installed(group: str) -> Mapping[str, Any]:
    """The plugins of an entry point group by kind, in the order of their kinds.

    Raises:
        ConfigError: there is none, so that the package's own are missing as well.
    """
    plugins = _loaded(group)
    if not plugins:
        raise ConfigError(
            f"no plugin of {group} is installed: install stream-infer anew (pip install, or make install)"
        )
    return plugins


@functools.cache
def _loaded(group: str) -> Mapping[str, Any]:
    plugins: dict[str, Any] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
        try:
            plugins[entry.name] = entry.load()
        except Exception as error:  # a broken package must not take every pipeline with it
            log.warning("plugin %s of %s cannot be loaded: %s: %s", entry.name, group, type(error).__name__, error)
    return plugins


def plugin(group: str, kind: str, setting: str) -> Plugin:
    """The plugin of a kind, with all that it requires.

    Raises:
        ConfigError: no installed package offers the kind, or a package that it requires is not installed.
    """
    plugins = installed(group)
    if kind not in plugins:
        raise ConfigError(f"{setting}: {unknown_kind(kind, ', '.join(plugins))}")
    chosen: Plugin = plugins[kind]
    require(chosen.requires, chosen.extra, f"{setting}: {kind}")
    return chosen


def require(modules: Sequence[str], extra: str, what: str) -> None:
    """Raise ConfigError where one of the modules is not installed, with the extra that brings it."""
    missing = next((name for name in modules if find_spec(name) is None), None)
    if missing is not None:
        raise ConfigError(f"{what} needs the package {missing}, which is not installed: pip install '{extra}'")


def unknown_kind(kind: str, offered: str) -> str:
    """A sentence for a kind that no installed package offers."""
    return f"there is no {kind!r} here; write one of {offered}, or install the package that offers it"


def reject_plugins() -> Iterator[RejectPlugin]:
    """The targets of rejects that installed sinks, and then installed sources, bring along."""
    for group in (SINKS, SOURCES):
        for offered in installed(group).values():
            if offered.rejects is not None:
                yield offered.rejects
