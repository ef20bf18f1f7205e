"""The queues of notifications: a Kafka topic or an SQS queue."""

from __future__ import annotations

import math
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaException, TopicPartition

from stream_infer import config, crash
from stream_infer.connectors.files.events import ObjectEvent, parse_events
from stream_infer.connectors.files.settings import Events, KafkaEvents, SqsEvents
from stream_infer.connectors.storage.s3 import client_of
from stream_infer.errors import ConfigError, Retryable

_MESSAGES = 500


class EventQueue(Protocol):
    """Used by one thread."""

    def poll(self, timeout: float) -> list[ObjectEvent]:
        """Events that arrived; waits ``timeout`` seconds (SQS: rounded up) for the first. Raises Retryable."""
        ...

    def planned(self) -> None:
        """Report that the objects of all events so far are in the ledger."""
        ...

    def close(self) -> None: ...


def open_queue(settings: Events, pipeline: str, storage: config.Storage) -> EventQueue:
    """The queue of the settings; connects with its first poll."""
    if settings.kafka is not None:
        return KafkaQueue(settings.kafka, pipeline)
    if settings.sqs is not None:
        return SqsQueue(settings.sqs, storage)
    raise ConfigError("discover.events: write kafka: or sqs: under it, or leave events out")


class KafkaQueue:
    """Reads a notification topic from its end on: the listing at the start covers what came before."""

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
            # offsets, not "the end": the client would look that up later, and what came in between would be missed
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


class SqsQueue:
    """Deletes a message only when its objects are in the ledger; until then SQS gives it again."""

    def __init__(self, settings: SqsEvents, storage: config.Storage) -> None:
        self._settings = settings
        self._storage = storage
        self._client: Any = None
        self._handles: list[str] = []

    def poll(self, timeout: float) -> list[ObjectEvent]:
        from botocore.exceptions import BotoCoreError, ClientError

        # SQS waits whole seconds; rounding down to 0 would answer at once and make the caller spin
        seconds = min(20, math.ceil(timeout))
        try:
            if self._client is None:
                self._client = client_of("sqs", self._settings.endpoint_url, self._settings.region, self._storage)
            answer = self._client.receive_message(
                QueueUrl=self._settings.queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=seconds
            )
        except (BotoCoreError, ClientError) as error:
            raise Retryable(f"the event queue did not answer: {type(error).__name__}", dependency="queue") from None
        crash.point("events.polled")
        messages = answer.get("Messages", [])
        self._handles += [message["ReceiptHandle"] for message in messages]
        return [event for message in messages for event in parse_events(message["Body"])]

    def planned(self) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        while self._handles:
            entries = [{"Id": str(index), "ReceiptHandle": handle} for index, handle in enumerate(self._handles[:10])]
            try:
                with crash.around("events.delete"):
                    self._client.delete_message_batch(QueueUrl=self._settings.queue_url, Entries=entries)
            except (BotoCoreError, ClientError):
                return  # they come again, and are known then
            del self._handles[:10]

    def close(self) -> None:
        self._client = None
