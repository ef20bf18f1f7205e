"""Notifications through a real broker: new objects are work without a listing, and end a wait."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import Producer

from stream_infer import config
from stream_infer.connectors.files.settings import FilesSettings
from stream_infer.connectors.files.source import FilesSource
from stream_infer.contracts import PlanBudget
from stream_infer.errors import Retryable


class Claims:
    """The position of an empty ledger."""

    def get(self, key: str) -> None:
        return None

    def unseen(self, object_ids: Sequence[str]) -> set[str]:
        return set(object_ids)


def _plan(source: FilesSource) -> list[str]:
    budget = PlanBudget(100, 100, 2**20, 0.0, time.time())
    parts = list(source.plan(Claims(), budget))
    return sorted(item["key"] for part in parts if part.split for item in part.split.bounds["objects"])


def _first_plan(source: FilesSource) -> list[str]:
    """Plan until it succeeds, as the planner does: a new topic may have no leader yet."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return _plan(source)
        except Retryable:
            if time.monotonic() > deadline:
                raise


def test_a_notification_ends_the_wait_and_is_planned_once(
    kafka: str, kafka_topic: Callable[..., str], s3: config.Storage, s3_bucket: Callable[[], str], s3_client: Any
) -> None:
    bucket, topic = s3_bucket(), kafka_topic(partitions=2)
    s3_client.put_object(Bucket=bucket, Key="in/before", Body=b"x")
    events = {"kafka": {"servers": kafka, "topic": topic}}
    chosen = FilesSettings(
        name="inbox", kind="files", url=f"s3://{bucket}/in/", storage=s3, discover={"events": events}
    )
    source = FilesSource.from_config(chosen, pipeline="p", limits=config.Limits())
    assert _first_plan(source) == ["in/before"]
    producer = Producer({"bootstrap.servers": kafka})

    def notify() -> None:
        s3_client.put_object(Bucket=bucket, Key="in/a +b", Body=b"x")
        producer.produce(topic, b"not json")
        for key in ("in/a%00b", "in/" + "n" * 2000, "in/a+%2Bb"):  # a store fails of the first two
            item = {"key": key, "size": 1, "eTag": "1"}
            record = {"eventName": "s3:ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": item}}
            producer.produce(topic, json.dumps({"Records": [record]}).encode())
        producer.flush(30)

    _plan(source)
    threading.Timer(0.2, notify).start()
    planned_keys: list[Any] = []
    deadline = time.monotonic() + 30
    while not planned_keys and time.monotonic() < deadline:
        source.wait(10)
        planned_keys = _plan(source)
    assert planned_keys == ["in/a +b"]
    notify()
    source.wait(10)
    assert _plan(source) == []
    source.close()
    source.close()
