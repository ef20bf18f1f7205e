"""One message, followed from its producer's traceparent through the spans to its row; with ``-s`` its way is printed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from kafka import KafkaProducer
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.telemetry.otlp_kit import Receiver

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SPAN_NAMES = {"plan", "queue", "read", "prepare", "infer", "write", "commit"}


@pytest.mark.timeout(400)
def test_from_the_producer_s_span_to_the_row(kafka: str, kafka_topic: Callable[..., str], tmp_path: Path) -> None:
    topic = kafka_topic()
    _produce(kafka, topic)
    with Receiver() as receiver:
        _run(tmp_path, kafka, topic, receiver.url)
        spans = receiver.spans()
    rows = pq.read_table(tmp_path / "out").to_pylist()
    (row,) = [row for row in rows if row["trace_id"] == TRACE]
    assert row["record_id"].endswith(f"/{topic}/0/5")
    linked = [span for span in spans if any(link.trace_id.hex() == TRACE for link in span.links)]
    assert len(linked) == 1
    (root,) = linked
    assert [link.span_id.hex() for link in root.links] == [SPAN]
    attributes = receiver.attributes(root)
    assert attributes["stream_infer.split_id"] == row["split_id"]
    assert attributes["messaging.system"] == "kafka"
    assert attributes["messaging.destination.name"] == topic
    assert attributes["messaging.destination.partition.id"] == "0"
    assert attributes["messaging.kafka.offset"] <= 5 < attributes["stream_infer.kafka.end_offset"]
    children = [span for span in spans if span.parent_span_id == root.span_id]
    assert {child.name for child in children} == SPAN_NAMES
    assert {child.trace_id for child in children} == {root.trace_id}
    ordered = [child.start_time_unix_nano for child in sorted(children, key=lambda child: child.end_time_unix_nano)]
    assert ordered == sorted(ordered)
    others = {other["trace_id"] for other in rows if other["split_id"] == row["split_id"]} - {TRACE}
    assert others == {root.trace_id.hex()}  # a message without a trace has its split's
    assert len(rows) == 10
    print(f"\n{_description(root, children, attributes, row)}")


def _description(root: Span, children: list[Span], attributes: dict[str, Any], row: dict[str, Any]) -> str:
    """The way of the message, for people (``pytest -s``)."""
    lines = [
        f"message {row['record_id']} with traceparent 00-{TRACE}-{SPAN}-01",
        f"span {root.name!r} {root.span_id.hex()} of trace {root.trace_id.hex()}, linked to {SPAN}:",
        *(f"  {name}: {value}" for name, value in sorted(attributes.items())),
        *(
            f"  {child.name}: {(child.end_time_unix_nano - child.start_time_unix_nano) / 1e6:.1f} ms"
            for child in sorted(children, key=lambda child: child.start_time_unix_nano)
        ),
        f"row in {attributes['stream_infer.file']}: split {row['split_id']}, trace_id {row['trace_id']}",
    ]
    return "\n".join(lines)


def _produce(servers: str, topic: str) -> None:
    producer = KafkaProducer(bootstrap_servers=servers)
    for number in range(10):
        headers = [("traceparent", f"00-{TRACE}-{SPAN}-01".encode())] if number == 5 else []
        producer.send(topic, value=f"message {number}".encode(), headers=headers)
    producer.flush()
    producer.close()


def _run(folder: Path, servers: str, topic: str, otlp: str) -> None:
    here = Path(__file__).parent
    settings: dict[str, Any] = {
        "name": "traced",
        "ledger": f"sqlite:///{folder}/ledger.db",
        "sources": [{"name": "stream", "kind": "kafka", "servers": servers, "topics": [topic]}],
        "model": {"kind": "python", "python": "hash_model:Hash"},
        "sink": {"url": str(folder / "out")},
        "serve": None,
        "telemetry": {"otlp": otlp},
    }
    file = folder / "pipeline.yaml"
    file.write_text(yaml.safe_dump(settings))
    path = os.pathsep.join([str(here), str(here.parents[1]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "stream_infer.ops.cli", "run", "--until-idle", str(file)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, cwd=folder, timeout=240, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
