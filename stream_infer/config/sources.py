"""Where work comes from: files and Kafka."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from stream_infer.config.values import Seconds, Settings, Storage

Format = Literal["text", "binary", "jsonl", "csv", "parquet", "image", "auto"]


class KafkaEvents(Settings):
    """Bucket notifications published to a Kafka topic (AWS, MinIO and versitygw shapes)."""

    servers: str = Field(description="brokers of the topic: HOST:PORT, several with commas")
    topic: str = Field(description="topic that the bucket's notifications are published to")
    options: dict[str, str] = Field(
        default_factory=dict, repr=False, description="librdkafka settings, such as security.protocol"
    )


class SqsEvents(Settings):
    """Bucket notifications in an SQS queue."""

    queue_url: str = Field(description="URL of the queue")
    endpoint_url: str | None = Field(default=None, description="URL of an SQS-compatible server; left out: AWS itself")
    region: str | None = Field(default=None, description="region of the queue; left out: the credential chain's")


class Events(Settings):
    """Where notifications of new objects come from; listing repairs what they miss."""

    kafka: KafkaEvents | None = Field(default=None, description="notifications from a Kafka topic")
    sqs: SqsEvents | None = Field(default=None, description="notifications from an SQS queue")


class Discover(Settings):
    """How new objects are found."""

    poll: Seconds = Field(default=2.0, description="time between two listings where no events are configured")
    events: Events | None = Field(default=None, description="notifications of new objects; left out: listing alone")
    backfill: Seconds = Field(
        default=3600.0, description="time between two listings beside events; they repair what events missed"
    )
    settle: Seconds = Field(
        default=2.0,
        description="local files: size and modification time must not change for so long before a file is read",
    )


class Move(Settings):
    """Where a committed object goes."""

    move: str = Field(description="URL of the folder that committed objects are moved to")


class SourceSettings(Settings):
    """What every source has."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$", description="name of the source in metrics, logs and the ledger"
    )
    lane: Literal["live", "backfill"] = Field(
        default="live", description="splits of live sources are admitted before those of backfill sources"
    )


class FilesSource(SourceSettings):
    """Objects of a bucket or files of a folder."""

    kind: Literal["files"] = Field(description="objects of a bucket or files of a folder")
    url: str = Field(description="folder to read: s3://, gs://, az://, file:// or any fsspec URL")
    storage: Storage = Field(default=Storage(), description="how to reach the store of url")
    format: Format = Field(default="auto", description="format of the objects; auto: by the suffix of the name")
    glob: str | None = Field(default=None, description="only keys that match, such as **/*.txt")
    discover: Discover = Field(default=Discover(), description="how new objects are discovered")
    after: Literal["keep", "delete"] | Move = Field(
        default="keep", description="what to do with a committed object: keep, delete or {move: URL}"
    )


class Pointer(Settings):
    """Kafka values that name an object (a claim check)."""

    prefixes: list[str] = Field(min_length=1, description="only objects under these URLs are read")
    storage: Storage = Field(default=Storage(), description="how to reach the store of those objects")
    format: Format = Field(default="auto", description="format of those objects; auto: by the suffix of the name")


class KafkaSource(SourceSettings):
    """All partitions of the topics, those added later too."""

    kind: Literal["kafka"] = Field(description="messages of Kafka topics")
    servers: str = Field(min_length=1, description="HOST:PORT, several with commas")
    topics: list[str] = Field(min_length=1, description="names of the topics to read")
    start: str = Field(
        default="earliest", description="where a new partition is begun: earliest, latest or an ISO 8601 timestamp"
    )
    format: Literal["text", "binary", "jsonl", "image", "pointer"] = Field(
        default="text", description="format of a message's value; pointer: the value names an object to read"
    )
    pointer: Pointer | None = Field(
        default=None, description="which objects a value may name; needed by format: pointer"
    )
    group: str | None = Field(
        default=None, description="consumer group whose offsets follow; default stream-infer.NAME"
    )
    options: dict[str, Any] = Field(default_factory=dict, repr=False, description="librdkafka settings")
    on_recreated: Literal["stop", "adopt"] = Field(
        default="stop",
        description="a topic was deleted and made again under its name: stop the source, or read the new one",
    )
    on_expired: Literal["skip", "stop"] = Field(
        default="skip",
        description="records expired before they were read: count them as lost and go on, or stop the source",
    )

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
