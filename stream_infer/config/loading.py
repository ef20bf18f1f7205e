"""From a YAML file to settings, and from a wrong setting to one sentence."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from stream_infer.config.pipeline import PipelineSettings
from stream_infer.errors import ConfigError

_MOST_VALUES = 100_000
_DEEPEST = 40
_CHOICES = ("kafka", "files", "transformers", "torch", "python", "Move")


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
    try:
        return PipelineSettings.model_validate(_expanded(document, "", count()))
    except ValidationError as error:
        problems = [_sentence(item) for item in error.errors(include_url=False, include_input=False)]
        raise ConfigError("\n".join(f"{origin}: {_printable(problem)}" for problem in problems)) from None
    except ConfigError as error:
        raise ConfigError(f"{origin}: {_printable(str(error))}") from None


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


def _sentence(item: Any) -> str:
    location = [str(part) for part in item["loc"]]
    # pydantic puts the tag or the class of a union's choice into the location; the file has no such key
    shown = ".".join(
        part for part in location if not part.startswith("literal[") and (part not in _CHOICES or part == location[-1])
    )
    if item["type"] == "extra_forbidden":
        close = difflib.get_close_matches(location[-1], _known_keys(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else "remove it, or see `stream-infer schema`"
        return f"{shown}: there is no such setting; {hint}"
    if item["type"] == "missing":
        return f"{shown}: is missing; write a value for it"
    message = item["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return f"{shown}: {message}" if shown else message


def _known_keys() -> list[str]:
    keys: set[str] = set()
    pending: list[type[BaseModel]] = [PipelineSettings]
    seen: set[type[BaseModel]] = set()
    while pending:
        model = pending.pop()
        if model in seen:
            continue
        seen.add(model)
        for name, info in model.model_fields.items():
            keys.add(name)
            pending.extend(_models_in(info.annotation))
    return sorted(keys)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
