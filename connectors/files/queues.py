"""The queues of notifications: a Kafka topic or an SQS queue."""

from __future__ import annotations

import math
from typing import Any, Protocol

from stream_infer import config, crash
from stream_infer.connectors.files.events import ObjectEvent, parse_events
from stream_infer.connectors.files.settings import Events, SqsEvents
from stream_infer.errors import ConfigError, Retryable
from stream_infer.plugins import require


class EventQueue(Protocol):
    """A queue of bucket notifications, for one thread."""

    def poll(self, timeout: float) -> list[ObjectEvent]:
        """The events since the last call; waits up to ``timeout`` seconds (SQS: rounded up) for the first. Raises Retryable."""
        ...

    def planned(self) -> None:
        """Acknowledge all events so far: their objects are in the ledger."""
        ...

    def close(self) -> None: ...


def open_queue(settings: Events, pipeline: str, storage: config.Storage) -> EventQueue:
    """The queue of the settings, which connects at its first poll."""
    if settings.kafka is not None:
        require(("confluent_kafka",), "stream-infer[kafka]", "discover.events.kafka")
        from stream_infer.connectors.files.kafka_queue import KafkaQueue

        return KafkaQueue(settings.kafka, pipeline)
    if settings.sqs is not None:
        require(("botocore",), "stream-infer[s3]", "discover.events.sqs")
        return SqsQueue(settings.sqs, storage)
    raise ConfigError("discover.events: write kafka: or sqs: under it, or leave events out")


class SqsQueue:
    """An SQS queue. A message is deleted when its objects are in the ledger; until then SQS delivers it again."""

    def __init__(self, settings: SqsEvents, storage: config.Storage) -> None:
        self._settings = settings
        self._storage = storage
        self._client: Any = None
        self._handles: list[str] = []

    def poll(self, timeout: float) -> list[ObjectEvent]:
        from botocore.exceptions import BotoCoreError, ClientError

        # SQS waits whole seconds; 0 would return at once, and the caller would loop without a pause
        seconds = min(20, math.ceil(timeout))
        try:
            if self._client is None:
                from stream_infer.connectors.storage.s3 import client_of

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
                return  # SQS delivers them again, and their objects are planned by then
            del self._handles[:10]

    def close(self) -> None:
        self._client = None
