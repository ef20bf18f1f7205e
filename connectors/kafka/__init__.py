"""Kafka: every partition of the topics, each offset once."""

from stream_infer.connectors.kafka.source import KafkaSource

__all__ = ["KafkaSource"]
