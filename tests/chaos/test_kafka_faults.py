"""Failures of Kafka while the service runs: broker, connections, partitions, topics, retention."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka.admin import NewPartitions

from stream_infer.ops.parts import PartMissing
from tests.chaos.kafka_kit import Cluster, proxied_broker
from tests.chaos.service_kit import MODEL, Service, World, living
from tests.chaos.watch import of_folder

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1200)]
LIVE, SKIPS, STOPS, ADOPTS, STRICT = "live", "skips", "stops", "adopts", "strict"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    try:
        with proxied_broker(tmp_path_factory.mktemp("kafka")) as cluster:
            yield cluster
    except PartMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def world(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("service")
    for name in (SKIPS, STOPS, ADOPTS, STRICT):
        cluster.create(name)
    cluster.create(LIVE, 2)
    policies = {STOPS: {"on_expired": "stop"}, ADOPTS: {"on_recreated": "adopt"}}
    sources = [
        {"name": topic, "kind": "kafka", "servers": cluster.servers, "topics": [topic], **policies.get(topic, {})}
        for topic in (LIVE, SKIPS, STOPS, ADOPTS, STRICT)
    ]
    settings = {
        "name": "kafka-faults",
        "ledger": f"sqlite:///{folder}/ledger.db",
        "sources": sources,
        "model": MODEL,
        "sink": {"url": f"file://{folder}/out/"},
        "limits": {"split_records": 50, "freshness": "200ms"},
    }
    producer = cluster.producer()
    (folder / "out").mkdir()
    with living(Service(folder, settings), of_folder(folder / "out"), producer=producer) as world:
        world.messages(SKIPS, 20)
        world.messages(STOPS, 20)
        world.messages(ADOPTS, 20)
        world.messages(STRICT, 20)
        world.works(lambda: world.messages(LIVE, 100, partitions=2))
        yield world


def test_the_broker_is_killed_under_load_and_comes_back(world: World, cluster: Cluster) -> None:
    world.messages(LIVE, 2000, partitions=2)
    cluster.process.kill()
    world.service.shows("Kafka at", "did not answer")
    cluster.process.start()
    world.works(lambda: world.messages(LIVE, 200, partitions=2))


def test_the_service_ends_while_the_broker_is_away(world: World, cluster: Cluster) -> None:
    cluster.proxy.toxic("bandwidth", rate=10)  # so that it is in the midst of reading when the broker dies
    world.messages(LIVE, 2000, partitions=2)
    world.service.until(lambda: world.service.status().get("records", {}).get("in_flight", 0) > 0, "at work")
    cluster.process.kill()
    world.service.shows("read: Kafka at", "did not answer")
    assert world.service.stop() == 0
    assert "the next start continues the splits that waited" in world.service.log.read_text()
    cluster.proxy.clear()
    cluster.process.start()
    world.service.start()
    world.works(lambda: world.messages(LIVE, 100, partitions=2))


def test_connections_are_cut_and_mended(world: World, cluster: Cluster) -> None:
    for _ in range(3):
        world.messages(LIVE, 500, partitions=2)
        cluster.proxy.cut()
        world.messages(LIVE, 100, partitions=2)
        world.service.shows("Kafka at", "did not answer")
        cluster.proxy.mend()
    world.works(lambda: world.messages(LIVE, 100, partitions=2))


def test_a_connection_is_reset_after_some_bytes(world: World, cluster: Cluster) -> None:
    cluster.proxy.toxic("limit_data", bytes=20_000)
    world.messages(LIVE, 2000, partitions=2)
    world.service.shows("Kafka at")
    cluster.proxy.clear()
    world.works(lambda: world.messages(LIVE, 100, partitions=2))


def test_a_slow_connection_only_slows(world: World, cluster: Cluster) -> None:
    cluster.proxy.toxic("latency", latency=400, jitter=300)
    cluster.proxy.toxic("bandwidth", rate=50)
    world.messages(LIVE, 1000, partitions=2)
    world.settled()
    cluster.proxy.clear()
    world.works(lambda: world.messages(LIVE, 100, partitions=2))


def test_partitions_are_added(world: World, cluster: Cluster) -> None:
    cluster.admin.create_partitions([NewPartitions(LIVE, 4)])[LIVE].result(30)
    producer = world.producer
    world.producer = cluster.producer()  # knows of them
    assert producer is not None
    producer.close()
    world.works(lambda: world.messages(LIVE, 200, partitions=4))


def test_records_that_expired_unread_are_a_named_loss(world: World, cluster: Cluster) -> None:
    cluster.proxy.cut()
    world.lose(world.messages(SKIPS, 30))
    kept = world.messages(SKIPS, 10)
    cluster.expire(SKIPS, 50)
    cluster.proxy.mend()
    world.works(lambda: world.messages(SKIPS, 5))
    assert kept[0] == f"{SKIPS}/0/50"
    statuses = world.service.ask("where", f"{SKIPS}/0/20")
    assert [(item["state"], item["reason"]) for item in statuses] == [("lost", "expired")]
    lost = f"source {SKIPS}: lost, because expired before it was read: 30 records from kafka://"
    assert lost in world.service.log.read_text()


def test_records_that_expired_unread_stop_the_source_that_wants_it(world: World, cluster: Cluster) -> None:
    cluster.proxy.cut()
    unread = world.messages(STOPS, 30)
    cluster.expire(STOPS, 50)
    cluster.proxy.mend()
    for name in unread:  # it stands still before them: they are neither rows nor losses
        del world.expected[name]
    world.service.shows("offsets 20 to 49 expired", "on_expired: skip")
    world.messages(LIVE, 100, partitions=4)
    world.settled()


def test_a_topic_made_again_is_adopted_by_the_source_that_may(world: World, cluster: Cluster) -> None:
    before = {name: digest for name, digest in world.expected.items() if name.startswith(f"{ADOPTS}/")}
    cluster.recreate(ADOPTS)
    for name in world.messages(ADOPTS, 20):  # the same offsets, other records: their coordinates say so
        world.expected[name.replace(f"{ADOPTS}/", f"{ADOPTS}@2/")] = world.expected[name]
    world.expected.update(before)
    world.settled()


def test_a_topic_made_again_stops_the_source_that_was_not_told(world: World, cluster: Cluster) -> None:
    cluster.recreate(STRICT)
    world.service.shows(f"topic '{STRICT}' was deleted and made again", "on_recreated: adopt")
    world.messages(LIVE, 100, partitions=4)
    world.settled()


def test_at_the_end_the_audit_agrees(world: World) -> None:
    world.works(lambda: world.messages(LIVE, 100, partitions=2))
    world.audited()
