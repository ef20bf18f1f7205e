"""The secret values of a pipeline file, so that none of them leaves in a log or a trace."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import BaseModel

from stream_infer.config.pipeline import PipelineSettings

_SECRET = re.compile(r"pass|secret|token|credential|jaas|authorization|api.?key|access.?key|account.?key|\bkey\b", re.I)
_LEAST = 4  # characters: shorter ones would be found in every second word
_SHOWN = "***"


class Redactor:
    """Takes the settings' secrets out of a text: a last net, for what a library may quote. Picklable, thread-safe."""

    def __init__(self, settings: PipelineSettings) -> None:
        values = {value for value in _secrets(settings, "") if len(value) >= _LEAST}
        shapes = values | {json.dumps(value)[1:-1] for value in values} | {unquote(value) for value in values}
        longest_first = sorted(shapes, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if shapes else None

    def __call__(self, text: str) -> str:
        return text if self._pattern is None else self._pattern.sub(_SHOWN, text)


def _secrets(value: Any, name: str) -> Iterator[str]:
    """Values under names that say so, credentials of URLs, and what the fields hide of themselves."""
    if isinstance(value, BaseModel):
        for field, info in type(value).model_fields.items():
            inner = getattr(value, field)
            if info.repr is False and isinstance(inner, str):
                yield inner
            else:
                yield from _secrets(inner, field)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _secrets(inner, "token" if name == "headers" else str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _secrets(inner, name)
    elif isinstance(value, str):
        if _SECRET.search(name):
            yield value
        elif "://" in value:
            yield from _of_url(value)


def _of_url(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    if parts.password:
        yield parts.password
    yield from (value for name, value in parse_qsl(parts.query) if _SECRET.search(name))
