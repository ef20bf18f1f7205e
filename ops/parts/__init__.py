"""A Kafka broker and an S3 server for the demo and the tests, from what the machine has."""

from ops.parts.kafka import Broker, start_kafka
from ops.parts.process import PartMissing
from ops.parts.s3 import S3Server, start_s3

__all__ = ["Broker", "PartMissing", "S3Server", "start_kafka", "start_s3"]
