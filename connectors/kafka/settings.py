"""Settings of the Kafka source and of the topic of rejects."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from stream_infer.config import AutoFormat, FormatSettings, OneFormat, Rejects, Settings, SourceSettings, Storage
from stream_infer.decode.format import Format
from stream_infer.decode.formats import TextOptions


def _fits_a_message(offered: Format) -> bool:
    return offered.one_record or offered.name == "jsonl"


class PointerFormat(FormatSettings):
    """The value names an object to read (a claim check)."""

    kind: Literal["pointer"] = Field(default="pointer", description="the value names an object to read")


class Pointer(Settings):
    """Kafka values that name an object (a claim check)."""

    model_config = ConfigDict(defer_build=True)

    prefixes: list[str] = Field(min_length=1, description="only objects under these URLs are read")
    storage: Storage = Field(default=Storage(), description="how to reach the store of those objects")
    format: Annotated[FormatSettings, OneFormat()] = Field(
        default=AutoFormat(),
        json_schema_extra={"default": "auto"},
        description="format of those objects, by its name or with its options; auto: by the suffix of the name",
    )


class KafkaSettings(SourceSettings):
    """All partitions of the topics, those added later too."""

    kind: Literal["kafka"] = Field(description="messages of Kafka topics")
    servers: str = Field(min_length=1, description="HOST:PORT, several with commas")
    topics: list[str] = Field(min_length=1, description="names of the topics to read")
    start: str = Field(
        default="earliest", description="where a new partition is begun: earliest, latest or an ISO 8601 timestamp"
    )
    format: Annotated[FormatSettings, OneFormat(_fits_a_message, (PointerFormat,))] = Field(
        default=TextOptions(),
        json_schema_extra={"default": "text"},
        description="format of a message's value, by its name or with its options; pointer: the value names an object "
        "to read",
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
    def _start_is_valid(cls, value: str) -> str:
        if value not in ("earliest", "latest"):
            try:
                datetime.fromisoformat(value)
            except ValueError:
                raise ValueError(
                    f"{value!r} is no start; write earliest, latest or 2026-01-31T12:00:00+00:00"
                ) from None
        return value

    @model_validator(mode="after")
    def _pointer_is_allow_listed(self) -> KafkaSettings:
        if self.format.kind == "pointer" and self.pointer is None:
            raise ValueError("format: pointer needs pointer.prefixes, the URLs that values may name")
        return self

    @property
    def location(self) -> str:
        """The topics and their servers."""
        return f"{', '.join(self.topics)} at {self.servers}"

    def fingerprint(self) -> Mapping[str, str]:
        """See `config.SourceSettings.fingerprint`."""
        return {**super().fingerprint(), "format": self.format.fingerprint()}


class TopicRejects(Rejects):
    """The topic that rejects are published to."""

    kafka_topic: str | None = Field(
        default=None, description="topic for rejects with their original key, value and headers; at least once"
    )
    servers: str | None = Field(default=None, description="brokers of kafka_topic; default: the first Kafka source's")
    options: dict[str, Any] = Field(
        default_factory=dict, repr=False, description="librdkafka settings for kafka_topic, such as security.protocol"
    )
