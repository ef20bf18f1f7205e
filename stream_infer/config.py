"""The pipeline file: pydantic models of its settings. Nothing else reads a setting."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from stream_infer.errors import ConfigError

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


Seconds = Annotated[float, BeforeValidator(_seconds, json_schema_input_type=float | str), Field(ge=0)]
Bytes = Annotated[int, BeforeValidator(_bytes, json_schema_input_type=int | str), Field(gt=0)]
Format = Literal["text", "binary", "jsonl", "csv", "parquet", "image", "auto"]
Task = Literal[
    "feature-extraction",
    "text-classification",
    "token-classification",
    "zero-shot-classification",
    "fill-mask",
    "text-generation",
    "image-classification",
    "image-feature-extraction",
]


class Settings(BaseModel):
    """Base of every section: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Storage(Settings):
    """How to reach an object store. Without keys the store's own credential chain is used."""

    endpoint_url: str | None = None
    region: str | None = None
    access_key_id: str | None = Field(default=None, repr=False)
    secret_access_key: str | None = Field(default=None, repr=False)
    session_token: str | None = Field(default=None, repr=False)
    options: dict[str, Any] = Field(default_factory=dict, repr=False, description="fsspec options for other stores")


class KafkaEvents(Settings):
    """Bucket notifications published to a Kafka topic (AWS, MinIO and versitygw shapes)."""

    servers: str
    topic: str
    options: dict[str, str] = Field(default_factory=dict, repr=False)


class SqsEvents(Settings):
    """Bucket notifications in an SQS queue."""

    queue_url: str
    endpoint_url: str | None = None
    region: str | None = None


class Events(Settings):
    """Where notifications of new objects come from; listing repairs what they miss."""

    kafka: KafkaEvents | None = None
    sqs: SqsEvents | None = None


class Discover(Settings):
    """How new objects are found."""

    poll: Seconds = 2.0
    events: Events | None = None
    backfill: Seconds = 3600.0
    settle: Seconds = Field(default=2.0, description="local files: how long size and mtime must rest")


class Move(Settings):
    """Where a committed object goes."""

    move: str


class SourceSettings(Settings):
    """What every source has."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
    lane: Literal["live", "backfill"] = "live"


class FilesSource(SourceSettings):
    """Objects of a bucket or files of a folder."""

    kind: Literal["files"]
    url: str
    storage: Storage = Storage()
    format: Format = "auto"
    glob: str | None = Field(default=None, description="only keys that match, such as **/*.txt")
    discover: Discover = Discover()
    after: Literal["keep", "delete"] | Move = "keep"


class Pointer(Settings):
    """Kafka values that name an object (a claim check)."""

    prefixes: list[str] = Field(min_length=1, description="only objects under these URLs are read")
    storage: Storage = Storage()
    format: Format = "auto"


class KafkaSource(SourceSettings):
    """All partitions of the topics, those added later too."""

    kind: Literal["kafka"]
    servers: str
    topics: list[str] = Field(min_length=1)
    start: str = Field(default="earliest", description="earliest, latest or an ISO 8601 timestamp")
    format: Literal["text", "binary", "jsonl", "image", "pointer"] = "text"
    pointer: Pointer | None = None
    group: str | None = Field(
        default=None, description="consumer group whose offsets follow; default stream-infer.NAME"
    )
    options: dict[str, Any] = Field(default_factory=dict, repr=False, description="librdkafka settings")
    on_recreated: Literal["stop", "adopt"] = "stop"
    on_expired: Literal["skip", "stop"] = "skip"

    @field_validator("start")
    @classmethod
    def _start_is_known(cls, value: str) -> str:
        from datetime import datetime

        if value not in ("earliest", "latest"):
            try:
                datetime.fromisoformat(value)
            except ValueError:
                raise ValueError(
                    f"{value!r} is no start; write earliest, latest or 2026-01-31T12:00:00+00:00"
                ) from None
        return value

    @model_validator(mode="after")
    def _pointer_is_allow_listed(self) -> KafkaSource:
        if self.format == "pointer" and self.pointer is None:
            raise ValueError("format: pointer needs pointer.prefixes, the URLs that values may name")
        return self


AnySource = Annotated[FilesSource | KafkaSource, Field(discriminator="kind")]


class Batch(Settings):
    """Micro-batches of the infer stage, cut by cost."""

    tokens: int = Field(default=16384, gt=0, description="cost budget of one micro-batch (tokens, pixels, …)")
    rows: int = Field(default=256, gt=0)
    wait: Seconds = 0.02


class Replicas(Settings):
    """How many infer actors run."""

    min: int = Field(default=1, ge=1)
    max: int | None = Field(default=None, ge=1, description="default: as many as the CPUs or GPUs allow")

    @model_validator(mode="after")
    def _ordered(self) -> Replicas:
        if self.max is not None and self.max < self.min:
            raise ValueError(f"max ({self.max}) is below min ({self.min}); write max: {self.min} or more")
        return self


class ModelSettings(Settings):
    """What every model has."""

    input: str | None = Field(default=None, description="content column the model reads; default text, image or bytes")
    batch: Batch = Batch()
    replicas: Replicas = Replicas()
    gpus: float = Field(default=0, ge=0)
    cpus: float | None = Field(default=None, gt=0, description="CPUs per infer actor; left out: its share of them all")
    options: dict[str, Any] = Field(default_factory=dict, description="passed to the model: labels, max_length, …")


class TransformersModel(ModelSettings):
    """A Hugging Face model, from a folder or the hub; safetensors only."""

    kind: Literal["transformers"]
    task: Task
    path: str
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    trust_remote_code: bool = False


class TorchModel(ModelSettings):
    """A torch module of one's own with safetensors weights."""

    kind: Literal["torch"]
    python: str = Field(pattern=r"^[\w.]+:[\w.]+$", description="package.module:Class, a torch.nn.Module")
    weights: str
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"


class PythonModel(ModelSettings):
    """Any class with infer(); load(), prepare() and cost() where it wants them."""

    kind: Literal["python"]
    python: str = Field(pattern=r"^[\w.]+:[\w.]+$", description="package.module:Class")


AnyModel = Annotated[TransformersModel | TorchModel | PythonModel, Field(discriminator="kind")]


class ParquetSink(Settings):
    """Parquet files, each created once and never replaced."""

    kind: Literal["parquet"] = "parquet"
    url: str
    storage: Storage = Storage()
    keep: list[str] = Field(default_factory=list, description="input columns carried into the output")
    partition: Literal["plan", "event"] = Field(default="plan", description="which date names the folder")
    single_writer: bool = False


class Rejects(Settings):
    """Where rejects go besides the ledger."""

    url: str | None = None
    storage: Storage = Storage()
    kafka_topic: str | None = None
    servers: str | None = None


class Limits(Settings):
    """Bounds that keep the service within memory and time."""

    in_flight: Bytes = 2 * 2**30
    attempts: int = Field(default=3, ge=1)
    record_bytes: Bytes = 256 * 2**20
    freshness: Seconds = 1.0
    idle_after: Seconds = 600.0
    split_records: int = Field(default=20_000, ge=1, description="most records of one split")
    split_bytes: Bytes = 64 * 2**20
    generation_splits: int = Field(default=100_000, ge=1, description="splits after which a generation is rotated")


class Serve(Settings):
    """The HTTP face: health, metrics, status."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)


class Telemetry(Settings):
    """Where traces go."""

    otlp: str | None = None


class PipelineSettings(Settings):
    """One pipeline file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
    ledger: str
    sources: list[AnySource] = Field(min_length=1)
    preprocess: str | None = Field(default=None, pattern=r"^[\w.]+:[\w.]+$")
    model: AnyModel
    sink: ParquetSink
    rejects: Rejects = Rejects()
    limits: Limits = Limits()
    stages: Literal["auto", "fused", "three"] = "auto"
    serve: Serve | None = Serve()
    telemetry: Telemetry = Telemetry()

    @model_validator(mode="after")
    def _names_differ(self) -> PipelineSettings:
        names = [source.name for source in self.sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two sources are named {twice[0]!r}; give each its own name")
        return self


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
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: holds no settings; write name:, ledger:, sources:, model: and sink:")
    return parse(document, str(path))


def parse(document: Mapping[str, Any], origin: str = "pipeline") -> PipelineSettings:
    """The settings in a document already parsed. Raises ConfigError as `load` does."""
    try:
        return PipelineSettings.model_validate(_expanded(document, ""))
    except ValidationError as error:
        problems = [_sentence(item) for item in error.errors(include_url=False, include_input=False)]
        raise ConfigError("\n".join(f"{origin}: {problem}" for problem in problems)) from None
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from None


def _expanded(value: Any, path: str) -> Any:
    if isinstance(value, dict):
        return {key: _expanded(item, f"{path}.{key}" if path else str(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_expanded(item, f"{path}.{index}") for index, item in enumerate(value)]
    if isinstance(value, str):
        return re.sub(r"\$\{(\w+)\}", lambda match: _variable(match[1], path), value)
    return value


def _variable(name: str, path: str) -> str:
    if name not in os.environ:
        raise ConfigError(f"{path}: the environment has no {name}; set it, or write the value in place of ${{{name}}}")
    return os.environ[name]


def _sentence(item: Any) -> str:
    location = [str(part) for part in item["loc"]]
    # pydantic puts the tag of a union into the location; the file has no such key
    shown = ".".join(
        part
        for part in location
        if part not in ("kafka", "files", "transformers", "torch", "python") or part == location[-1]
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
