"""One broker, reached directly by the test and through a proxy by the service."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from kafka import KafkaProducer

from stream_infer.ops.parts import Broker, Proxy, ProxyListener, start_brokers, start_toxiproxy
from stream_infer.ops.parts.process import Server, free_port


class Cluster:
    """The broker, its proxy, and what an administrator does to its topics."""

    def __init__(self, broker: Broker, proxy: Proxy) -> None:
        self.broker, self.proxy = broker, proxy
        self.admin = AdminClient({"bootstrap.servers": broker.servers})

    @property
    def servers(self) -> str:
        """As the service is told: through the proxy."""
        return f"127.0.0.1:{self.proxy.port}"

    @property
    def process(self) -> Server:
        assert self.broker.process is not None
        return self.broker.process

    def producer(self) -> KafkaProducer:
        """Writes each message once, whatever happens to the broker."""
        return KafkaProducer(bootstrap_servers=self.broker.servers, linger_ms=5, enable_idempotence=True)

    def create(self, name: str, partitions: int = 1) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                self.admin.create_topics([NewTopic(name, partitions, 1)])[name].result(30)
            except KafkaException:  # the topic of that name is not gone everywhere yet
                assert time.monotonic() < deadline
                time.sleep(0.2)
            else:
                return

    def recreate(self, name: str) -> None:
        self.admin.delete_topics([name])[name].result(30)
        self.create(name)

    def expire(self, topic: str, before: int) -> None:
        """Delete the records before an offset, as retention would."""
        futures = self.admin.delete_records([TopicPartition(topic, 0, before)])
        next(iter(futures.values())).result(30)


@contextmanager
def proxied_broker(folder: Path) -> Iterator[Cluster]:
    """Raises PartMissing where there is no Java or no Go."""
    with start_toxiproxy(folder / "proxy") as toxiproxy:
        port = free_port()
        proxy = toxiproxy.proxy("kafka", port)
        with start_brokers(folder / "brokers", proxy=ProxyListener(port, proxy.port)) as (broker,):
            yield Cluster(broker, proxy)
