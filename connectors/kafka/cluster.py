"""The broker as the driver sees it: topics and their ids, partitions, offsets, the group's committed offsets."""

from __future__ import annotations

import ctypes
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec, TopicDescription

from stream_infer.errors import ConfigError, Retryable

_TIMEOUT = 10.0  # seconds a broker may take to answer
_CLOSE_SECONDS = 2.0
_REFRESH_MS = 5000
Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it is now: a topic made again under its name has another id."""

    name: str
    topic_id: str
    partitions: tuple[int, ...]


class Link:
    """How one client of a source reaches the brokers: its settings, and its errors as this project's errors.

    No sentence it makes holds an option's value, which may be a secret.
    """

    def __init__(self, source: str, servers: str, options: Mapping[str, Any], setting: str = "") -> None:
        self.source = source
        self.servers = servers
        self._setting = setting or f"sources.{source}.options"
        self._options = options
        self._refused = False

    def settings(self, **defaults: Any) -> dict[str, Any]:
        """librdkafka settings: these defaults (``_`` for ``.``), then the source's options."""
        return {
            "log_level": 0,
            "socket.keepalive.enable": True,
            "reconnect.backoff.max.ms": 2000,
            **{name.replace("_", "."): value for name, value in defaults.items()},
            **self._options,
            "bootstrap.servers": self.servers,
            "error_cb": self._note,
        }

    @contextmanager
    def answered(self, forget: Callable[[], object] = lambda: None) -> Iterator[None]:
        """Turn the client's exceptions into this project's errors.

        Args:
            forget: called after a failure, to give up a client that keeps the epochs of partitions' leaders. A topic that is
                made again under its name begins at 0, which the old client takes for outdated news, and the brokers
                refuse its epoch for ever.

        Raises:
            ConfigError: an option is unknown or cannot be used.
            Retryable: anything else; a broker that is away or refuses may be repaired while the service waits.
        """
        try:
            with self._translated():
                yield
        except Retryable:
            forget()
            raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            cause = error.args[0] if error.args else error
            if isinstance(cause, KafkaError) and cause.code() == KafkaError._INVALID_ARG:
                raise self._option_error(cause.str()) from None
            raise self.failure(cause) from None
        except TimeoutError:
            raise self.failure("timed out") from None

    def failure(self, cause: object) -> Retryable:
        """The error for a call that brought nothing."""
        refused = (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED)
        if self._refused or (isinstance(cause, KafkaError) and cause.code() in refused):
            self._refused = False
            return Retryable(
                f"Kafka at {self.servers} refuses the credentials; see {self._setting}", dependency="kafka"
            )
        reason = cause.str() if isinstance(cause, KafkaError) else cause
        return Retryable(f"Kafka at {self.servers} did not answer: {reason}", dependency="kafka")

    def check(self) -> None:
        """Try the options on a client that connects to nothing. Raises ConfigError."""
        options = {name: value for name, value in self.settings().items() if name != "bootstrap.servers"}
        with self.answered():
            try:
                Consumer({**options, "group.id": "check"}).close()
            except (TypeError, ValueError):
                raise ConfigError(f"{self._setting}: a value has a type that librdkafka cannot use") from None

    def _note(self, error: KafkaError) -> None:
        """Keep that the credentials are refused: the call that meets them just times out."""
        if error.code() in (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED):
            self._refused = True

    def _option_error(self, message: str) -> ConfigError:
        path = self._setting
        quoted = re.search(r'property:? "([^"]+)"', message)
        if quoted is None:
            values = {str(value) for value in self._options.values()}
            named = [name for name in re.findall(r"\b[a-z]+(?:\.[a-z]+)+\b", message) if name not in values]
            return ConfigError(f"{path}: librdkafka cannot use {' and '.join(named) or 'these options together'}")
        if message.startswith("No such"):
            return ConfigError(f"{path}.{quoted[1]}: librdkafka has no such setting; remove it or correct its name")
        return ConfigError(f"{path}.{quoted[1]}: the value cannot be used; see librdkafka's CONFIGURATION.md")


def _drop_leaked_reference(described: TopicDescription) -> None:
    """Free the id together with the description.

    confluent-kafka (seen in 2.16.1) keeps a reference of its own to each id that it hands out and never drops it: 110 bytes
    for each call that asks for one topic, of which a service makes millions. Nobody but the description knows the id here, so
    it must be held as often as the description's list of partitions is; where that holds, nothing is done.
    """
    if sys.getrefcount(described.topic_id) == sys.getrefcount(described.partitions) + 1:
        ctypes.pythonapi.Py_DecRef(ctypes.py_object(described.topic_id))


class Cluster:
    """Questions to the brokers, and the offsets of one group; opens its connections when it needs them.

    Every method raises Retryable when no broker answers within ten seconds.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._client: AdminClient | None = None
        self._committer: Consumer | None = None
        self._answers: list[tuple[KafkaError | None, list[TopicPartition]]] = []
        self._id: str | None = None

    @property
    def id(self) -> str:
        """The brokers' own name of their cluster."""
        if self._id is None:
            with self._link.answered(self._forget):
                described = self._admin().describe_cluster(request_timeout=_TIMEOUT).result(_TIMEOUT)
                self._id = str(described.cluster_id)
        return self._id

    def topics(self, names: Sequence[str]) -> dict[str, Topic]:
        """Those of the topics that exist."""
        topics: dict[str, Topic] = {}
        with self._link.answered(self._forget):
            futures = self._admin().describe_topics(TopicCollection(list(names)), request_timeout=_TIMEOUT)
            for name, future in futures.items():
                try:
                    described = future.result(_TIMEOUT)
                except KafkaException as error:
                    if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                        continue
                    raise
                _drop_leaked_reference(described)
                partitions = tuple(sorted(partition.id for partition in described.partitions))
                topics[name] = Topic(name, str(described.topic_id), partitions)
        return topics

    def starts(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """First offset that is still there."""
        return self._offsets(partitions, OffsetSpec.earliest())

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """Next offset that a committed record would take (the last stable offset)."""
        return self._offsets(partitions, OffsetSpec.latest())

    def at_time(self, partitions: Sequence[Partition], timestamp: float) -> dict[Partition, int]:
        """First offset at or after a time in seconds; the end where there is none yet."""
        offsets = self._offsets(partitions, OffsetSpec.for_timestamp(int(timestamp * 1000)))
        without_record = [partition for partition, offset in offsets.items() if offset < 0]
        return {**offsets, **(self.ends(without_record) if without_record else {})}

    def commit(self, group: str, offsets: Mapping[Partition, int]) -> None:
        """Set the group's offsets, for tools that show lag. Nothing here ever reads them back; topics gone are skipped.

        By a consumer that never joins: librdkafka's admin client aborts the whole process (an assertion on the count
        of an ``eonce``) when a request to a group's coordinator times out, as it does while a broker is away. And waited for
        here: librdkafka's own waiting never ends where the broker falls silent in the middle of it.
        """
        wanted = [TopicPartition(topic, number, offset) for (topic, number), offset in offsets.items()]
        with self._link.answered():
            consumer = self._group(group)
            self._answers.clear()
            consumer.commit(offsets=wanted, asynchronous=True)
            deadline = time.monotonic() + _TIMEOUT
            while (errors := self._errors_of(offsets)) is None:
                if time.monotonic() > deadline:
                    raise TimeoutError
                consumer.poll(0.01)
            for error in errors:
                if error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise KafkaException(error)

    def committed(self, group: str, partitions: Sequence[Partition]) -> dict[Partition, int]:
        """The group's offsets of those partitions that have one."""
        if not partitions:
            return {}
        with self._link.answered():
            items = self._group(group).committed([TopicPartition(*part) for part in partitions], timeout=_TIMEOUT)
        return {(item.topic, item.partition): item.offset for item in items if item.offset >= 0}

    def _errors_of(self, offsets: Mapping[Partition, int]) -> list[KafkaError] | None:
        """Errors in the answer to this commit; None until it arrives. The answer to an earlier one may come before."""
        for error, items in self._answers:
            if {(item.topic, item.partition): item.offset for item in items} == offsets:
                return [each for each in (error, *(item.error for item in items)) if each is not None]
        return None

    def _group(self, group: str) -> Consumer:
        if self._committer is None:
            fixed = {"group.id": group, "enable.auto.commit": False, "session.timeout.ms": int(_TIMEOUT * 1000)}
            callback = {"on_commit": lambda error, items: self._answers.append((error, items))}
            self._committer = Consumer({**self._link.settings(), **fixed, **callback})
        return self._committer

    def close(self) -> None:
        """Drop the connections. Safe to call twice."""
        self._client = None
        if self._committer is not None:
            # a commit that a broker left unanswered keeps librdkafka waiting for ever; there is no group to leave
            closing = threading.Thread(target=self._committer.close, name="kafka-close", daemon=True)
            closing.start()
            closing.join(_CLOSE_SECONDS)
            self._committer = None

    def _offsets(self, partitions: Sequence[Partition], spec: OffsetSpec) -> dict[Partition, int]:
        if not partitions:
            return {}
        wanted = {TopicPartition(topic, number): spec for topic, number in partitions}
        with self._link.answered(self._forget):
            futures = self._admin().list_offsets(
                wanted, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=_TIMEOUT
            )
            return {(item.topic, item.partition): future.result(_TIMEOUT).offset for item, future in futures.items()}

    def _forget(self) -> None:
        self._client = None

    def _admin(self) -> AdminClient:
        if self._client is None:
            # what it asks goes to the controller, and when that broker dies a client without topics of its own hears of
            # the next one only by looking again, by default after five minutes
            self._client = AdminClient(self._link.settings(topic_metadata_refresh_interval_ms=_REFRESH_MS))
        return self._client
