"""Kafka: every partition of the topics, each offset once."""

from connectors.kafka.source import KafkaSource

__all__ = ["KafkaSource"]
