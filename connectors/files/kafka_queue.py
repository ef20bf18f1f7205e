"""The event queue of a Kafka topic with bucket notifications."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition

from stream_infer import crash
from stream_infer.connectors.files.events import ObjectEvent, parse_events
from stream_infer.connectors.files.settings import KafkaEvents
from stream_infer.errors import Retryable

_MESSAGES = 500


class KafkaQueue:
    """Reads a notification topic from its end; the listing at the start covers earlier objects."""

    def __init__(self, settings: KafkaEvents, pipeline: str) -> None:
        self._settings = settings
        self._options: dict[str, Any] = {
            "bootstrap.servers": settings.servers,
            "error_cb": lambda _error: None,
            "log_level": 0,
            **settings.options,
            "group.id": f"stream-infer.{pipeline}.events",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 500,
        }
        self._consumer: Consumer | None = None

    def poll(self, timeout: float) -> list[ObjectEvent]:
        try:
            consumer = self._open()
            first = consumer.poll(timeout)
            messages = [] if first is None else [first, *consumer.consume(_MESSAGES, 0)]
            crash.point("events.polled")
        except KafkaException as error:
            raise Retryable(
                f"the event topic {self._settings.topic} did not answer: {error}", dependency="queue"
            ) from None
        return [
            event for message in messages if message.error() is None for event in parse_events(message.value() or b"")
        ]

    def planned(self) -> None:
        return

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _open(self) -> Consumer:
        if self._consumer is None:
            consumer = Consumer(self._options)
            topic = consumer.list_topics(self._settings.topic, timeout=10.0).topics[self._settings.topic]
            if topic.error is not None:
                consumer.close()
                raise Retryable(f"the event topic {self._settings.topic!r} does not exist yet", dependency="queue")
            # explicit offsets: the client would look up "the end" only later, and miss the messages in between
            consumer.assign([self._end(consumer, number) for number in topic.partitions])
            self._consumer = consumer
        return self._consumer

    def _end(self, consumer: Consumer, number: int) -> TopicPartition:
        end = TopicPartition(self._settings.topic, number)
        watermarks = consumer.get_watermark_offsets(end, timeout=10.0, cached=False)
        if watermarks is None:
            consumer.close()
            raise Retryable(f"the event topic {self._settings.topic} did not answer in time", dependency="queue")
        end.offset = watermarks[1]
        return end
