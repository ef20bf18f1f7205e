"""Settings of the files source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from stream_infer.config import AutoFormat, FormatSettings, OneFormat, Seconds, Settings, SourceSettings, Storage


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
    """The queue of notifications of new objects; listings find the objects that they miss."""

    kafka: KafkaEvents | None = Field(default=None, description="notifications from a Kafka topic")
    sqs: SqsEvents | None = Field(default=None, description="notifications from an SQS queue")


class Discover(Settings):
    """Discovery of new objects."""

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
    """The target folder of committed objects."""

    move: str = Field(description="URL of the folder that committed objects are moved to")


class FilesSettings(SourceSettings):
    """Objects of a bucket or files of a folder."""

    kind: Literal["files"] = Field(description="objects of a bucket or files of a folder")
    url: str = Field(description="folder to read: s3://, gs://, az://, file:// or any fsspec URL")
    storage: Storage = Field(default=Storage(), description="how to reach the store of url")
    format: Annotated[FormatSettings, OneFormat()] = Field(
        default=AutoFormat(),
        json_schema_extra={"default": "auto"},
        description="format of the objects, by its name or with its options; auto: by the suffix of the name",
    )
    glob: str | None = Field(default=None, description="only keys that match, such as **/*.txt")
    discover: Discover = Field(default=Discover(), description="how new objects are discovered")
    after: Literal["keep", "delete"] | Move = Field(
        default="keep", description="what to do with a committed object: keep, delete or {move: URL}"
    )

    @property
    def folder(self) -> str | None:
        """URL of the folder with the input."""
        return self.url

    def fingerprint(self) -> Mapping[str, str]:
        """See `config.SourceSettings.fingerprint`."""
        return {**super().fingerprint(), "format": self.format.fingerprint(), "url": self.url}
