"""From a YAML file to settings, and from a wrong setting to one sentence."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from stream_infer.config.pipeline import PipelineSettings
from stream_infer.errors import ConfigError
from stream_infer.plugins import MODELS, SINKS, SOURCES, plugin, unknown_kind

_MOST_VALUES = 100_000
_DEEPEST = 40
_RENAMED = {"limits.storm": "limits.circuit_breaker", "limits.generation_splits": "limits.execution_splits"}
_REMOVED = {"model.batch.wait": "micro-batches never wait for more rows"}


def load(path: str | Path) -> PipelineSettings:
    """The settings in a YAML file, with ``${NAME}`` taken from the environment.

    Raises:
        ConfigError: one sentence a problem: the setting's path and what to write instead.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read ({reason}); name a pipeline file") from None
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        raise ConfigError(
            f"{path}: not YAML at {where}: {getattr(error, 'problem', None) or 'cannot be parsed'}"
        ) from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]
        raise ConfigError(f"{path}: cannot be parsed: {reason}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: holds no settings; write name:, ledger:, sources:, model: and sink:")
    return parse(document, str(path))


def parse(document: Mapping[str, Any], origin: str = "pipeline") -> PipelineSettings:
    """The settings in a document already parsed. Raises ConfigError as `load` does."""
    whole: Any = document
    try:
        whole = _expanded(document, "", count())
        settings = PipelineSettings.model_validate(whole)
        _require_packages(settings)
        return settings
    except ValidationError as error:
        problems = [_sentence(item, whole) for item in error.errors(include_url=False, include_input=False)]
        raise ConfigError("\n".join(f"{origin}: {_printable(problem)}" for problem in problems)) from None
    except ConfigError as error:
        raise ConfigError(f"{origin}: {_printable(str(error))}") from None


def _require_packages(settings: PipelineSettings) -> None:
    """Raise ConfigError where a package that a source, the sink or the model requires is not installed."""
    for index, source in enumerate(settings.sources):
        plugin(SOURCES, source.kind, f"sources.{index}.kind")
    plugin(SINKS, settings.sink.kind, "sink.kind")
    plugin(MODELS, settings.model.kind, "model.kind")


def _printable(text: str) -> str:
    """A file's own names may hold line ends, or what a terminal would obey."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def _expanded(value: Any, path: str, counted: Iterator[int]) -> Any:
    # aliases make a few lines stand for any number of values, or for themselves
    if next(counted) > _MOST_VALUES or path.count(".") > _DEEPEST:
        raise ConfigError(f"{path[:80]}: holds too many values, one within the other; remove its aliases")
    if isinstance(value, dict):
        return {key: _expanded(item, f"{path}.{key}" if path else str(key), counted) for key, item in value.items()}
    if isinstance(value, list):
        return [_expanded(item, f"{path}.{index}", counted) for index, item in enumerate(value)]
    if isinstance(value, str):
        return re.sub(r"\$\{(\w+)\}", lambda match: _variable(match[1], path), value)
    return value


def _variable(name: str, path: str) -> str:
    if name not in os.environ:
        raise ConfigError(f"{path}: the environment has no {name}; set it, or write the value in place of ${{{name}}}")
    return os.environ[name]


def _sentence(problem: Any, document: Any) -> str:
    location, kind = problem["loc"], problem["type"]
    setting = ".".join(_keys(location, document, missing=kind == "missing"))
    context = problem.get("ctx", {})
    if kind == "union_tag_invalid":
        tag = f"{setting}.kind" if isinstance(_at(location, document), Mapping) else setting
        offered = context["expected_tags"].replace("'", "")
        return f"{tag}: {unknown_kind(context['tag'], offered)}"
    if kind == "union_tag_not_found":
        return f"{setting}.kind: is missing; write the kind that the other settings are for"
    if kind == "extra_forbidden" and setting in _RENAMED:
        return f"{setting}: is now named {_RENAMED[setting]}; write that name"
    if kind == "extra_forbidden" and setting in _REMOVED:
        return f"{setting}: was removed, because {_REMOVED[setting]}; delete the line"
    if kind == "extra_forbidden":
        close = difflib.get_close_matches(str(location[-1]), _setting_names(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else "remove it, or see `stream-infer schema`"
        return f"{setting}: there is no such setting; {hint}"
    if kind == "missing":
        return f"{setting}: is missing; write a value for it"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return f"{setting}: {message}" if setting else message


def _keys(location: Sequence[str | int], document: Any, *, missing: bool) -> list[str]:
    """The location as keys of the file: pydantic adds kinds and classes of unions, which are no keys."""
    keys: list[str] = []
    section: Any = None  # whose kind has been left out
    for index, part in enumerate(location):
        if isinstance(document, Mapping) and document.get("kind") == part and section is not document:
            section = document
            continue
        try:
            document = document[part]
        except (LookupError, TypeError):
            if not missing or index < len(location) - 1:
                continue
        keys.append(str(part))
    return keys


def _at(location: Sequence[str | int], document: Any) -> Any:
    """The value at the location, None where a part of the location is no key of the file."""
    for key in _keys(location, document, missing=False):
        document = document[int(key) if isinstance(document, list) else key]
    return document


def _setting_names() -> list[str]:
    schema = PipelineSettings.model_json_schema()
    sections = [schema, *schema["$defs"].values()]
    return sorted({name for section in sections for name in section.get("properties", ())})
