"""Questions to a real broker, over and over."""

from __future__ import annotations

import gc
from collections.abc import Callable

from confluent_kafka import Uuid

from connectors.kafka.cluster import Cluster, Link


def test_a_question_asked_for_years_keeps_no_memory(kafka: str, kafka_topic: Callable[..., str]) -> None:
    cluster, name = Cluster(Link("s", kafka, {})), kafka_topic(3)
    first = cluster.topics([name])
    for _ in range(300):
        assert cluster.topics([name]) == first
    cluster.close()
    assert sum(isinstance(thing, Uuid) for thing in gc.get_objects()) < 10
