"""Rejects as messages of a Kafka topic, with the original key, value and headers."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from stream_infer import crash
from stream_infer.connectors.kafka.cluster import Link
from stream_infer.connectors.kafka.settings import KafkaSettings, TopicRejects
from stream_infer.errors import ConfigError, Retryable
from stream_infer.rejects import DeadLetter, Original

_VALUE_BYTES = 900_000  # a broker takes messages of 1 MB by default, headers included
_PATIENCE_SECONDS = 30.0
_LOOK_SECONDS = 5.0


class RejectTopic:
    """Implements `contracts.RejectTarget`.

    At least once: a message that may have been lost is sent again. Its header ``stream-infer-id`` is the same each
    time, so a consumer that must not see it twice can tell.
    """

    originals = _VALUE_BYTES

    def __init__(self, link: Link, topic: str) -> None:
        self.name = f"kafka:{link.servers}/{topic}"
        self._link = link
        self._topic = topic
        self._producer: Producer | None = None
        self._failed: list[KafkaError] = []

    @classmethod
    def from_config(cls, settings: TopicRejects, sources: Sequence[KafkaSettings]) -> RejectTopic:
        """The topic of the settings, on ``rejects.servers`` or else on the servers of the first Kafka source.

        Raises:
            ConfigError: no servers are known, or an option cannot be used.
        """
        assert settings.kafka_topic is not None
        if settings.servers is not None:
            link = Link("rejects", settings.servers, settings.options, setting="rejects.options")
        elif sources:
            link = Link(sources[0].name, sources[0].servers, {**sources[0].options, **settings.options})
        else:
            raise ConfigError("rejects.kafka_topic: no source is a Kafka cluster; write rejects.servers as well")
        link.check()
        return cls(link, settings.kafka_topic)

    def publish(self, letters: Sequence[DeadLetter]) -> None:
        """See `contracts.RejectTarget.publish`."""
        self._failed = []
        try:
            with self._link.answered(), crash.around("rejects.kafka"):
                producer = self._open()
                for letter in letters:
                    self._send(producer, letter)
                left = producer.flush(_PATIENCE_SECONDS)
                if left or self._failed:
                    raise self._refusal(producer)
        except Retryable:
            self.close()  # messages still in its queue would come beside those of the next try
            raise

    def close(self) -> None:
        """Drop the producer and its unsent messages. Safe to call twice."""
        if self._producer is not None:
            self._producer.purge()
            self._producer = None

    def _open(self) -> Producer:
        if self._producer is None:
            patience = int(_PATIENCE_SECONDS * 900)
            settings = self._link.settings(linger_ms=5, message_timeout_ms=patience)
            self._producer = Producer({**settings, "enable.idempotence": True})
        return self._producer

    def _refusal(self, producer: Producer) -> Retryable:
        cause = self._failed[0] if self._failed else "timed out"
        with contextlib.suppress(KafkaException):  # a broker that is away answers this no better
            error = producer.list_topics(self._topic, timeout=_LOOK_SECONDS).topics[self._topic].error
            if error is not None and error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                # librdkafka says of such a topic only that the messages timed out
                missing = f"topic {self._topic!r} is not there on Kafka at {self._link.servers}"
                return Retryable(f"{missing}; create it, or correct rejects.kafka_topic", dependency="kafka")
        return Retryable(f"topic {self._topic!r} does not take the rejects: {self._link.failure(cause)}")

    def _send(self, producer: Producer, letter: DeadLetter) -> None:
        original = letter.original or Original(missing="unknown")
        try:
            self._produce(producer, letter, original)
        except KafkaException as error:
            cause = error.args[0]
            if not isinstance(cause, KafkaError) or cause.code() != KafkaError.MSG_SIZE_TOO_LARGE:
                raise
            self._produce(producer, letter, Original(original.key, missing="too_large"))

    def _produce(self, producer: Producer, letter: DeadLetter, original: Original) -> None:
        value = None if original.missing else original.value
        headers = [*original.headers, *_headers(letter, original.missing)]
        while True:
            try:
                producer.produce(
                    self._topic, value=value, key=original.key, headers=headers, on_delivery=self._delivered
                )
                return
            except BufferError:  # the queue is full: let it empty
                producer.poll(0.1)

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failed.append(error)


def _headers(letter: DeadLetter, missing: str | None) -> list[tuple[str, Any]]:
    reject = letter.reject
    identity = "\n".join((reject.source, reject.record_id, letter.split.split_id))
    values = {
        "id": hashlib.blake2b(identity.encode(), digest_size=16).hexdigest(),
        "coordinate": reject.record_id,
        "source": reject.source,
        "stage": reject.stage,
        "error": reject.error,
        "reason": reject.reason,
        "attempts": str(reject.attempts),
        "replay": str(letter.replay),
    }
    if missing:
        values["payload"] = missing
    return [(f"stream-infer-{name}", value.encode()) for name, value in values.items()]
