"""Kafka: every partition of the topics, each offset once."""
