"""Where work comes from: files and Kafka."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from stream_infer.config.values import Seconds, Settings, Storage

Format = Literal["text", "binary", "jsonl", "csv", "parquet", "image", "auto"]


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
    servers: str = Field(min_length=1, description="HOST:PORT, several with commas")
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
