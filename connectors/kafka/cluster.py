"""The broker as the driver sees it: topics and their ids, partitions, offsets, the group's committed offsets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from stream_infer.errors import ConfigError, Retryable

_TIMEOUT = 10.0  # seconds a broker may take to answer
Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it stands: a topic made again under its name has another id."""

    name: str
    topic_id: str
    partitions: tuple[int, ...]


def client_options(servers: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """librdkafka settings of a source, with its noise turned off: errors come back with the calls."""
    return {
        "bootstrap.servers": servers,
        "error_cb": _ignore,
        "log_level": 0,
        "socket.keepalive.enable": True,
        "reconnect.backoff.max.ms": 2000,
        **options,
    }


@contextmanager
def answered(source: str, servers: str) -> Iterator[None]:
    """Client errors as this project's errors. The message names the source and the broker, never an option's value.

    Raises:
        ConfigError: an option is unknown or cannot be used.
        Retryable: anything else; a broker that is away or refuses may be repaired while the service waits.
    """
    try:
        yield
    except KafkaException as error:
        cause = error.args[0] if error.args else error
        if isinstance(cause, KafkaError):
            if cause.code() == KafkaError._INVALID_ARG:
                raise ConfigError(f"sources.{source}.options: {_option(cause.str())}") from None
            if cause.code() == KafkaError._AUTHENTICATION:
                raise Retryable(f"Kafka at {servers} refuses the credentials; see sources.{source}.options") from None
            raise Retryable(f"Kafka at {servers} did not answer: {cause.str()}") from None
        raise Retryable(f"Kafka at {servers} did not answer: {cause}") from None


class Cluster:
    """Questions to the brokers; opens its connection with the first of them.

    Every method raises Retryable when no broker answers within ten seconds.
    """

    def __init__(self, source: str, servers: str, options: Mapping[str, Any]) -> None:
        self._source = source
        self._servers = servers
        self._options = client_options(servers, options)
        self._client: AdminClient | None = None
        self._id: str | None = None

    @property
    def id(self) -> str:
        """The brokers' own name of their cluster."""
        if self._id is None:
            with self._answered():
                found = self._admin().describe_cluster(request_timeout=_TIMEOUT).result(_TIMEOUT)
                self._id = str(found.cluster_id)
        return self._id

    def topics(self, names: Sequence[str]) -> dict[str, Topic]:
        """Those of the topics that exist."""
        found: dict[str, Topic] = {}
        with self._answered():
            futures = self._admin().describe_topics(TopicCollection(list(names)), request_timeout=_TIMEOUT)
            for name, future in futures.items():
                try:
                    described = future.result(_TIMEOUT)
                except KafkaException as error:
                    if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                        continue
                    raise
                partitions = tuple(sorted(partition.id for partition in described.partitions))
                found[name] = Topic(name, str(described.topic_id), partitions)
        return found

    def starts(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """First offset that is still there."""
        return self._offsets(partitions, OffsetSpec.earliest())

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Next offset that a committed record would take (the last stable offset)."""
        return self._offsets(partitions, OffsetSpec.latest())

    def at_time(self, partitions: Sequence[Partition], timestamp: float) -> dict[Partition, int]:
        """First offset at or after a time in seconds; the end where there is none yet."""
        found = self._offsets(partitions, OffsetSpec.for_timestamp(int(timestamp * 1000)))
        later = [partition for partition, offset in found.items() if offset < 0]
        return {**found, **(self.ends(later) if later else {})}

    def commit(self, group: str, offsets: Mapping[Partition, int]) -> None:
        """Set the group's offsets, for tools that show lag. Nothing here ever reads them back."""
        wanted = [TopicPartition(topic, number, offset) for (topic, number), offset in offsets.items()]
        request = [ConsumerGroupTopicPartitions(group, wanted)]
        with self._answered():
            for future in self._admin().alter_consumer_group_offsets(request, request_timeout=_TIMEOUT).values():
                result = future.result(_TIMEOUT)
                failed = [item.error for item in result.topic_partitions or () if item.error]
                if failed:
                    raise KafkaException(failed[0])

    def close(self) -> None:
        """Drop the connection. Safe to call twice."""
        self._client = None

    def _offsets(self, partitions: Sequence[Partition], spec: OffsetSpec) -> dict[Partition, int]:
        if not partitions:
            return {}
        wanted = {TopicPartition(topic, number): spec for topic, number in partitions}
        with self._answered():
            futures = self._admin().list_offsets(
                wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=_TIMEOUT
            )
            return {(item.topic, item.partition): future.result(_TIMEOUT).offset for item, future in futures.items()}

    def _admin(self) -> AdminClient:
        if self._client is None:
            self._client = AdminClient(self._options)
        return self._client

    def _answered(self) -> Any:
        return answered(self._source, self._servers)


def _ignore(_error: KafkaError) -> None:
    """Connection errors come back with the call that meets them."""


def _option(message: str) -> str:
    """librdkafka's words without the value, which may be a secret: it quotes names, and values after 'for'."""
    return message.partition(" value ")[0] if "No such configuration" not in message else message
