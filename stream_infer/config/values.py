"""Words that many sections of the pipeline file share: durations, sizes, and how to reach a store."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_DURATION = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def _with_unit(value: Any, units: Mapping[str, float], what: str, example: str) -> Any:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", value)
    if match is None or (match[2] and match[2] not in units):
        raise ValueError(f"{value!r} is no {what}; write it like {example}, with one of {', '.join(units)}")
    return float(match[1]) * units.get(match[2], 1.0)


def _seconds(value: Any) -> Any:
    return _with_unit(value, _DURATION, "duration", "10s")


def _bytes(value: Any) -> Any:
    size = _with_unit(value, _SIZE, "size", "256MiB")
    return int(size) if isinstance(size, float) else size


_IN_SECONDS = Field(ge=0, json_schema_extra={"unit": "seconds"})
_IN_BYTES = {"unit": "bytes"}
Seconds = Annotated[float, BeforeValidator(_seconds, json_schema_input_type=float | str), _IN_SECONDS]
Bytes = Annotated[
    int, BeforeValidator(_bytes, json_schema_input_type=int | str), Field(gt=0, json_schema_extra=_IN_BYTES)
]
SizeOrNone = Annotated[
    int, BeforeValidator(_bytes, json_schema_input_type=int | str), Field(ge=0, json_schema_extra=_IN_BYTES)
]


class Settings(BaseModel):
    """Base of every section: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Storage(Settings):
    """How to reach an object store. Without keys the store's own credential chain is used."""

    endpoint_url: str | None = Field(default=None, description="URL of an S3-compatible server; left out: AWS itself")
    region: str | None = Field(default=None, description="region of the bucket; left out: the credential chain's")
    access_key_id: str | None = Field(
        default=None, repr=False, description="access key; left out: the store's own credential chain"
    )
    secret_access_key: str | None = Field(
        default=None, repr=False, description="secret of the access key; write ${NAME}, not the secret"
    )
    session_token: str | None = Field(default=None, repr=False, description="token of temporary credentials")
    options: dict[str, Any] = Field(
        default_factory=dict, repr=False, description="options of the store's client, by its own names"
    )
