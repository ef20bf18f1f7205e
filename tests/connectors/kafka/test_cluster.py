"""Questions to a real broker, over and over."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Uuid
from confluent_kafka.admin import AdminClient, NewTopic

from stream_infer.connectors.kafka import cluster as module
from stream_infer.connectors.kafka.cluster import Cluster, Link
from stream_infer.errors import Retryable
from stream_infer.ops.parts import PartMissing, start_brokers


def test_a_question_asked_for_years_keeps_no_memory(kafka: str, kafka_topic: Callable[..., str]) -> None:
    cluster, name = Cluster(Link("s", kafka, {})), kafka_topic(3)
    first = cluster.topics([name])
    for _ in range(300):
        assert cluster.topics([name]) == first
    cluster.close()
    assert sum(isinstance(thing, Uuid) for thing in gc.get_objects()) < 10


@pytest.mark.timeout(120)
def test_a_broker_that_falls_silent_in_a_commit_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def patience(seconds: float) -> None:
        monkeypatch.setattr(module, "_TIMEOUT", seconds)

    def silent_in_a_commit(offset: int) -> None:
        process.send_signal(signal.SIGSTOP)
        patience(2.0)
        with pytest.raises(Retryable, match="did not answer: timed out"):
            cluster.commit("g", {partition: offset})
        patience(30.0)

    try:
        with start_brokers(tmp_path) as (broker,):
            assert broker.process is not None
            process = broker.process.process
            admin = AdminClient({"bootstrap.servers": broker.servers})
            admin.create_topics([NewTopic("t", 1, 1)])["t"].result(30)
            cluster, partition = Cluster(Link("s", broker.servers, {})), ("t", 0)
            cluster.commit("g", {partition: 3})
            silent_in_a_commit(5)
            process.send_signal(signal.SIGCONT)
            cluster.commit("g", {partition: 6})
            assert cluster.committed("g", [partition]) == {partition: 6}
            silent_in_a_commit(7)
            cluster.close()
            process.send_signal(signal.SIGCONT)
    except PartMissing as missing:
        pytest.skip(str(missing))
