"""An oracle that shares no code with the product: it reads Kafka, S3 and the Parquet listing itself."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from typing import Any
from urllib.parse import quote

import pyarrow.parquet as pq
from kafka import KafkaConsumer, TopicPartition


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def expected_of_kafka(servers: str, topic: str) -> dict[str, str]:
    """Coordinate without the cluster -> digest of the value."""
    consumer = KafkaConsumer(bootstrap_servers=servers, isolation_level="read_committed", enable_auto_commit=False)
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
    consumer.assign(partitions)
    consumer.seek_to_beginning()
    ends = consumer.end_offsets(partitions)
    digests: dict[str, str] = {}
    while any(consumer.position(partition) < ends[partition] for partition in partitions):
        for messages in consumer.poll(1000, max_records=5000).values():
            for message in messages:
                digests[f"{message.topic}/{message.partition}/{message.offset}"] = digest(message.value)
    consumer.close()
    return digests


def expected_of_s3(client: Any, bucket: str, prefix: str) -> dict[str, str]:
    """Coordinate -> digest of the object."""
    digests: dict[str, str] = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            body = client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
            key = quote(item["Key"], safe="/-._~!$&'()*+,=:@")
            digests[f"s3://{bucket}/{key}?version={item['ETag'].strip(chr(34))}#0"] = digest(body)
    return digests


def rows_of(client: Any, bucket: str, prefix: str) -> list[tuple[str, str]]:
    """(coordinate without a Kafka cluster, digest) of every row of every file that a plain listing shows."""
    rows: list[tuple[str, str]] = []
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            body = client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
            table = pq.read_table(io.BytesIO(body))
            if table.num_rows:
                names = table.column("record_id").to_pylist()
                rows += zip(map(_plain, names), table.column("digest").to_pylist(), strict=True)
    return rows


def verdict(expected: dict[str, str], rows: list[tuple[str, str]]) -> dict[str, int]:
    """How many records are lost, there twice, or wrong."""
    counts = Counter(name for name, _ in rows)
    return {
        "lost": len(expected.keys() - counts.keys()),
        "duplicated": sum(count - 1 for count in counts.values()),
        "wrong": sum(expected.get(name) != value for name, value in rows),
    }


def _plain(record_id: str) -> str:
    return record_id.split("/", 3)[3] if record_id.startswith("kafka://") else record_id
