"""A cluster of three brokers loses the leader of the partitions that are read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from kafka import KafkaProducer

from stream_infer.ops.parts import Broker, PartMissing, start_brokers
from tests.chaos.service_kit import MODEL, Service, World, living
from tests.chaos.watch import of_folder

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]
TOPIC = "led"


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[list[Broker]]:
    try:
        with start_brokers(tmp_path / "brokers", count=3) as brokers:
            yield brokers
    except PartMissing as missing:
        pytest.skip(str(missing))


def _leader(admin: AdminClient) -> int:
    leader: int = admin.list_topics(TOPIC, timeout=30).topics[TOPIC].partitions[0].leader
    return leader


def test_the_leader_of_a_partition_is_killed_and_another_takes_over(brokers: list[Broker], tmp_path: Path) -> None:
    servers = ",".join(broker.servers for broker in brokers)
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(TOPIC, 2, 3)])[TOPIC].result(60)
    settings = {
        "name": "leader-faults",
        "ledger": f"sqlite:///{tmp_path}/ledger.db",
        "sources": [{"name": "stream", "kind": "kafka", "servers": servers, "topics": [TOPIC]}],
        "model": MODEL,
        "sink": {"url": f"file://{tmp_path}/out/"},
        "limits": {"split_records": 50, "freshness": "200ms"},
    }
    (tmp_path / "out").mkdir()
    producer = KafkaProducer(bootstrap_servers=servers.split(","), enable_idempotence=True)
    with living(Service(tmp_path / "service", settings), of_folder(tmp_path / "out"), producer=producer) as world:
        world.works(lambda: world.messages(TOPIC, 100, partitions=2))
        # each in turn, for one of them is also the controller that the service's client knows
        first = _leader(admin)
        for number in (first, *({1, 2, 3} - {first})):
            _lose(world, admin, brokers, number)
        world.audited()


def _lose(world: World, admin: AdminClient, brokers: list[Broker], number: int) -> None:
    process = brokers[number - 1].process
    assert process is not None
    world.messages(TOPIC, 1000, partitions=2)
    process.kill()
    deadline = time.monotonic() + 120
    while _leader(admin) in (number, -1):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    world.works(lambda: world.messages(TOPIC, 1000, partitions=2))  # while one broker of three is away
    process.start()
    world.works(lambda: world.messages(TOPIC, 100, partitions=2))
