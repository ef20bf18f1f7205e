"""The pipeline file as a whole: sources, model, sink, limits and the service's own settings."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from stream_infer.config.installed import OneOf, WithTargets, rejects_section
from stream_infer.config.models import ModelSettings
from stream_infer.config.sinks import Rejects, SinkSettings
from stream_infer.config.sources import SourceSettings
from stream_infer.config.values import Bytes, Seconds, Settings
from stream_infer.plugins import MODELS, SINKS, SOURCES


class CircuitBreakerLimits(Settings):
    """When everything fails, the service stops instead of rejecting all there is."""

    records: int = Field(
        default=1000,
        ge=1,
        json_schema_extra={"unit": "records"},
        description="so many records of one source, rejected alike (same stage, same error) and from at least ten files "
        "or messages, stop the service; about so many rejects are made until then",
    )
    share: float = Field(
        default=0.9,
        gt=0,
        le=1,
        json_schema_extra={"unit": "share"},
        description="the part of the last `records` records that must have failed alike",
    )
    splits: int = Field(
        default=30,
        ge=1,
        json_schema_extra={"unit": "splits"},
        description="so many splits one after another that killed or hung their workers, without a row of the source "
        "between them, stop it as well",
    )


class Limits(Settings):
    """Bounds that keep the service within memory and time."""

    in_flight: Bytes = Field(
        default=2 * 2**30, description="most input that is in the execution at a time, as estimated"
    )
    attempts: int = Field(
        default=3,
        ge=1,
        json_schema_extra={"unit": "attempts"},
        description="tries of a split before it is bisected, and of a single record before it is rejected",
    )
    record_bytes: Bytes = Field(default=256 * 2**20, description="most bytes of one record; a larger one is rejected")
    decoded: Bytes = Field(default=2**30, description="most bytes of one split once decoded; a larger one is divided")
    freshness: Seconds = Field(default=1.0, description="longest time that a record waits to share a file with others")
    idle_after: Seconds = Field(
        default=600.0,
        description="time without work after which the execution ends and its actors and GPUs are released",
    )
    split_records: int = Field(
        default=50_000, ge=1, json_schema_extra={"unit": "records"}, description="most records of one split"
    )
    split_bytes: Bytes = Field(default=128 * 2**20, description="most input of one split, as estimated")
    split_timeout: Seconds | None = Field(
        default=600.0,
        description="a worker busy with one step of one split for longer is killed, and the split divided until the record "
        "that hangs stands alone; more where the measured cost of a record asks for it; 0 or null: never",
    )
    circuit_breaker: CircuitBreakerLimits | None = Field(
        default=CircuitBreakerLimits(),
        description="stop when everything fails; null: reject whatever fails, without end",
    )
    execution_splits: int = Field(
        default=100_000,
        ge=1,
        json_schema_extra={"unit": "splits"},
        description="splits after which an execution is replaced by a fresh one",
    )


class Serve(Settings):
    """The HTTP face: health, metrics, status."""

    host: str = Field(default="127.0.0.1", description="address to listen on; one that others can reach needs a token")
    port: int = Field(
        default=8000,
        ge=0,
        le=65535,
        json_schema_extra={"unit": "port"},
        description="port to listen on; 0: any free one",
    )
    token: str | None = Field(
        default=None, repr=False, min_length=16, description="what callers must bring; write ${NAME}, not the secret"
    )
    hosts: list[str] = Field(
        default_factory=list, description="names by which the service is asked, beside addresses and localhost"
    )

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @model_validator(mode="after")
    def _reachable_needs_a_token(self) -> Serve:
        if not self.local and self.token is None:
            raise ValueError(
                f"host {self.host} can be reached from other machines: add token: ${{NAME}} with a secret of "
                "16 characters or more in the environment, or write host: 127.0.0.1"
            )
        return self


class Telemetry(Settings):
    """Traces and logs. Metrics are always there, at /metrics of ``serve``."""

    otlp: str | None = Field(
        default=None,
        pattern=r"^https?://\S+$",
        description="OTLP/HTTP receiver of traces, such as http://127.0.0.1:4318; left out: no traces",
    )
    headers: dict[str, str] = Field(
        default_factory=dict, repr=False, description="sent to the receiver, such as authorization: ${TOKEN}"
    )
    sample: float = Field(
        default=1.0,
        ge=0,
        le=1,
        json_schema_extra={"unit": "share"},
        description="share of the splits whose trace is sent; those that were slow, failed or tried again always are",
    )
    slow: Seconds = Field(
        default=30.0, description="from its first read to its commit, a split that takes longer is slow"
    )
    logs: Literal["auto", "json", "text"] = Field(
        default="auto", description="auto: text on a terminal, else one JSON document a line"
    )


class PipelineSettings(Settings):
    """One pipeline file. Sources, sink, model and rejects are those of the installed plugins."""

    model_config = ConfigDict(defer_build=True)  # plugins are loaded with the first file, not with this module

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$",
        description="name of the pipeline, in metrics and traces and in its consumer groups",
    )
    ledger: str = Field(description="database of the ledger: sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE")
    sources: list[Annotated[SourceSettings, OneOf(SOURCES)]] = Field(
        min_length=1, description="where records come from, each with a name of its own"
    )
    preprocess: str | None = Field(
        default=None,
        pattern=r"^[\w.]+:[\w.]+$",
        description="package.module:function, called with each table of records before the model",
    )
    model: Annotated[ModelSettings, OneOf(MODELS)] = Field(description="the model that runs over the records")
    sink: Annotated[SinkSettings, OneOf(SINKS)] = Field(description="where output rows go")
    rejects: Annotated[Rejects, WithTargets()] = Field(
        default_factory=lambda: rejects_section()(), description="where rejects go besides the ledger"
    )
    limits: Limits = Field(default=Limits(), description="bounds of memory, time and attempts")
    stages: Literal["auto", "fused", "three"] = Field(
        default="auto",
        description="fused: read, infer and write share one actor pool; three: a pool each; auto: fused for a cheap CPU model",
    )
    serve: Serve | None = Field(default=Serve(), description="the HTTP service; null: none")
    telemetry: Telemetry = Field(default=Telemetry(), description="traces and logs")

    @model_validator(mode="after")
    def _names_differ(self) -> PipelineSettings:
        names = [source.name for source in self.sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two sources are named {twice[0]!r}; give each its own name")
        return self

    @model_validator(mode="after")
    def _rejects_have_their_own_folder(self) -> PipelineSettings:
        rejects = self.rejects.folder
        if rejects is None:
            return self
        folders = {"sink.url": self.sink.folder} | {f"sources.{item.name}.url": item.folder for item in self.sources}
        for setting, folder in folders.items():
            if folder is None:
                continue
            inner, outer = (f"{url.rstrip('/')}/" for url in (rejects, folder))
            if inner.startswith(outer) or (outer.startswith(inner) and setting == "sink.url"):
                raise ValueError(
                    f"rejects.url and {setting} lie in one another; give the rejects a folder of their own"
                )
        return self

    def fingerprint(self) -> Mapping[str, str]:
        """Settings that must not change under planned work: where the output goes and what a coordinate means."""
        fixed = {f"sink.{name}": value for name, value in self.sink.fingerprint().items()}
        for source in self.sources:
            fixed |= {f"sources.{source.name}.{name}": value for name, value in source.fingerprint().items()}
        return fixed
