"""Servers for the demo and the tests, from the machine's own programs: Kafka, S3, PostgreSQL, Prometheus, Toxiproxy."""

from stream_infer.ops.parts.kafka import Broker, ProxyListener, start_brokers, start_kafka
from stream_infer.ops.parts.postgres import Postgres, start_postgres
from stream_infer.ops.parts.process import PartMissing
from stream_infer.ops.parts.prometheus import Prometheus, start_prometheus
from stream_infer.ops.parts.s3 import S3Server, start_s3
from stream_infer.ops.parts.toxiproxy import Proxy, Toxiproxy, start_toxiproxy

__all__ = [
    "Broker",
    "PartMissing",
    "Postgres",
    "Prometheus",
    "Proxy",
    "ProxyListener",
    "S3Server",
    "Toxiproxy",
    "start_brokers",
    "start_kafka",
    "start_postgres",
    "start_prometheus",
    "start_s3",
    "start_toxiproxy",
]
