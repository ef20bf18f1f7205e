"""The main job, whole: Kafka and S3 in, Parquet out, held against an oracle of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from kafka import KafkaProducer

from stream_infer.config import Storage
from tests.e2e import oracle

AWKWARD = ["sp ace", "ünï/çødé", "a+b", "50%", "h#sh", "q?x", "%41", "d/e/e/p/e/r", f"{'long' * 40}/{'name' * 40}"]


def _fill(servers: str, topic: str, client: Any, bucket: str, messages: int, objects: int) -> None:
    producer = KafkaProducer(bootstrap_servers=servers, linger_ms=20)
    for number in range(messages):
        producer.send(topic, key=str(number).encode(), value=f"message {number} — ünïcode".encode())
    producer.flush()
    producer.close()

    def put(number: int) -> None:
        key = f"in/{AWKWARD[number % len(AWKWARD)]}/{number}.txt"
        client.put_object(Bucket=bucket, Key=key, Body=f"object {number}".encode())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(objects)))


def _pipeline(folder: Path, servers: str, topic: str, bucket: str, s3: Storage, **more: Any) -> Path:
    storage = s3.model_dump(exclude_defaults=True)
    settings = {
        "name": topic,
        "ledger": f"sqlite:///{folder}/ledger.db",
        "sources": [
            {"name": "stream", "kind": "kafka", "servers": servers, "topics": [topic]},
            {"name": "inbox", "kind": "files", "url": f"s3://{bucket}/in/", "storage": storage, "format": "text"},
        ],
        "model": {"kind": "python", "python": "hash_model:Hash"},
        "sink": {"url": f"s3://{bucket}/out/", "storage": storage},
        "serve": None,
        **more,
    }
    file = folder / "pipeline.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "stream_infer.ops.cli", *arguments]


def _environment() -> dict[str, str]:
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parents[1]), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path}


def _run(file: Path, timeout: float = 240) -> None:
    command = _command("run", "--until-idle", str(file))
    subprocess.run(command, check=True, timeout=timeout, env=_environment(), cwd=file.parent)


def _json(*arguments: str) -> Any:
    done = subprocess.run(
        _command(*arguments, "--json"), capture_output=True, text=True, env=_environment(), check=False
    )
    return json.loads(done.stdout)


@pytest.mark.timeout(400)
def test_every_record_exactly_once_across_two_kills(
    kafka: str,
    kafka_topic: Callable[..., str],
    s3: Storage,
    s3_client: Any,
    s3_bucket: Callable[[], str],
    tmp_path: Path,
) -> None:
    topic, bucket = kafka_topic(partitions=4), s3_bucket()
    _fill(kafka, topic, s3_client, bucket, messages=20_000, objects=300)
    file = _pipeline(tmp_path, kafka, topic, bucket, s3, limits={"split_records": 500})
    for _ in range(2):
        before = len(_listed(s3_client, bucket))
        with (tmp_path / "killed.log").open("wb") as log:
            process = subprocess.Popen(
                _command("run", "--until-idle", str(file)), env=_environment(), cwd=tmp_path, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 120
        while process.poll() is None and len(_listed(s3_client, bucket)) <= before + 2:
            assert time.monotonic() < deadline, (tmp_path / "killed.log").read_text()
        assert process.poll() is None, (tmp_path / "killed.log").read_text()
        process.send_signal(signal.SIGKILL)
        process.wait()
    _run(file)
    expected = oracle.expected_of_kafka(kafka, topic) | oracle.expected_of_s3(s3_client, bucket, "in/")
    rows = oracle.rows_of(s3_client, bucket, "out/")
    assert len(expected) == 20_300
    assert oracle.verdict(expected, rows) == {"lost": 0, "duplicated": 0, "wrong": 0}
    counts = {"planned": 20_300, "committed": 20_300, "rejected": 0, "in_flight": 0, "lost": 0, "duplicated": 0}
    assert _json("audit", str(file)) == counts


@pytest.mark.timeout(400)
def test_a_raising_and_a_killing_record_are_rejected_and_all_others_delivered(
    kafka: str,
    kafka_topic: Callable[..., str],
    s3: Storage,
    s3_client: Any,
    s3_bucket: Callable[[], str],
    tmp_path: Path,
) -> None:
    topic, bucket = kafka_topic(), s3_bucket()
    _fill(kafka, topic, s3_client, bucket, messages=200, objects=20)
    producer = KafkaProducer(bootstrap_servers=kafka)
    for value in (b"raise me", b"kill me"):
        producer.send(topic, value=value)
    producer.close()
    file = _pipeline(tmp_path, kafka, topic, bucket, s3, limits={"attempts": 2})
    _run(file)
    rejects = {reject["record_id"].split("/", 3)[3]: reject for reject in _json("rejects", str(file), "list")}
    assert set(rejects) == {f"{topic}/0/200", f"{topic}/0/201"}
    assert rejects[f"{topic}/0/200"]["error"] == "ValueError"
    assert "cannot hash" in rejects[f"{topic}/0/200"]["reason"]
    assert "died" in rejects[f"{topic}/0/201"]["reason"]
    assert {reject["stage"] for reject in rejects.values()} == {"infer"}
    expected = oracle.expected_of_kafka(kafka, topic) | oracle.expected_of_s3(s3_client, bucket, "in/")
    delivered = {name: value for name, value in expected.items() if name not in rejects}
    rows = oracle.rows_of(s3_client, bucket, "out/")
    assert oracle.verdict(delivered, rows) == {"lost": 0, "duplicated": 0, "wrong": 0}
    where = _json("where", str(file), f"{topic}/0/201")
    assert [item["state"] for item in where] == ["rejected"]


def _listed(client: Any, bucket: str) -> list[Any]:
    return client.list_objects_v2(Bucket=bucket, Prefix="out/").get("Contents", [])
