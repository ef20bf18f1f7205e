"""The whole service over the whole corpus: every record a row or a reject, no crash, nothing executed, nothing told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from confluent_kafka import Producer

from stream_infer.config import Storage
from tests.hostile import corpus
from tests.telemetry.otlp_kit import Receiver

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]
HERE = Path(__file__).parent
CANARY = "canary-7f3a9c-must-never-be-seen"
_PATIENCE = 3000  # seconds; minutes where nothing else runs


def _put(client: Any, bucket: str) -> dict[str, str]:
    """Store the corpus; key to fate, of those whose name the server takes."""
    stored = {}
    for case in corpus.files():
        try:
            client.put_object(Bucket=bucket, Key=f"in/{case.name}", Body=case.content)
            stored[f"in/{case.name}"] = case.fate
        except client.exceptions.ClientError:
            assert case.name.startswith("names/")
    client.put_object(Bucket=bucket, Key="secret.txt", Body=CANARY.encode())
    client.put_object(Bucket=bucket, Key="allowed/good.txt", Body=b"good")
    return stored


def _send(servers: str, topics: dict[str, str], allowed: str) -> int:
    producer = Producer({"bootstrap.servers": servers, "message.max.bytes": 2_000_000})
    refused: list[Any] = []

    def report(error: Any, _message: Any) -> None:
        if error is not None:
            refused.append(error)

    values = [*corpus.pointers(allowed), f"{allowed}good.txt".encode()]
    given = [(kind, *message[1:]) for message in corpus.messages() for kind in ("text", "jsonl", "image")]
    given += [("pointer", None, value, []) for value in values]
    for kind, key, value, headers in given:
        producer.produce(topics[kind], value, key, headers=headers, partition=0, on_delivery=report)
    assert producer.flush(60) == 0
    assert refused == []
    return len(given)


def _pipeline(
    folder: Path, servers: str, topics: dict[str, str], bucket: str, storage: dict[str, Any], otlp: str
) -> Path:
    kafka = [
        {"name": kind, "kind": "kafka", "servers": servers, "topics": [topic], "format": kind,
         "options": {"sasl.password": "${CANARY}"},
         **({"pointer": {"prefixes": [f"s3://{bucket}/allowed/"], "storage": storage}} if kind == "pointer" else {})}
        for kind, topic in topics.items()
    ]  # fmt: skip
    settings = {
        "name": "hostile",
        "ledger": f"sqlite:///{folder}/ledger.db",
        "sources": [{"name": "inbox", "kind": "files", "url": f"s3://{bucket}/in/", "storage": storage}, *kafka],
        "model": {"kind": "python", "python": "hostile_model:Length"},
        "sink": {"url": f"s3://{bucket}/out/", "storage": storage},
        "limits": {"record_bytes": corpus.RECORD_BYTES, "attempts": 2, "decoded": "256MiB"},
        "serve": None,
        "telemetry": {"otlp": otlp, "headers": {"authorization": "${CANARY}"}},
    }
    file = folder / "pipeline.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def _call(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    environment = {**os.environ, "PYTHONPATH": path, "CANARY": CANARY}
    command = [sys.executable, "-m", "stream_infer.ops.cli", arguments[0], str(file), *arguments[1:]]
    given: dict[str, Any] = {"capture_output": True, "text": True, "check": False, "timeout": _PATIENCE}
    try:
        return subprocess.run(command, cwd=file.parent, env=environment, **given)
    except subprocess.TimeoutExpired as late:
        pytest.fail(f"{arguments} did not end: {(late.stderr or b'').decode()[-3000:]}")


def test_the_whole_corpus(
    kafka: str,
    kafka_topic: Callable[..., str],
    s3: Storage,
    s3_client: Any,
    s3_bucket: Callable[[], str],
    tmp_path: Path,
) -> None:
    bucket = s3_bucket()
    topics = {kind: kafka_topic() for kind in ("text", "jsonl", "image", "pointer")}
    fates = _put(s3_client, bucket)
    count = _send(kafka, topics, f"s3://{bucket}/allowed/")
    with Receiver() as traces:
        file = _pipeline(tmp_path, kafka, topics, bucket, s3.model_dump(exclude_defaults=True), traces.url)
        before = {path.name for path in tmp_path.iterdir()}
        run = _call(file, "run", "--until-idle")

    said = run.stdout + run.stderr
    assert run.returncode == 0, said[-3000:]
    assert "Traceback" not in said, said[said.index("Traceback") - 500 :][:3000]
    audit = json.loads(_call(file, "audit", "--json").stdout)
    assert (audit["lost"], audit["duplicated"], audit["in_flight"]) == (0, 0, 0), audit
    listed = _call(file, "rejects", "list", "--limit", "100000", "--json").stdout
    rejected = [item["record_id"] for item in json.loads(listed)]
    rows = _rows(s3_client, bucket, tmp_path / "mirror")
    assert len(rows) == len(set(rows))
    assert not set(rows) & set(rejected)
    _check_files(fates, rows, rejected)
    of_kafka = [name for name in (*rows, *rejected) if name.startswith("kafka://")]
    assert len(of_kafka) == len(set(of_kafka)) == count
    assert [name for name in rows if f"/{topics['pointer']}/" in name] == [max(_of(topics["pointer"], of_kafka))]
    made = {path.name for path in tmp_path.iterdir()} - before
    assert made <= {"ledger.db", "ledger.db-wal", "ledger.db-shm", "mirror"}, "something was executed"
    spans = [str(span) for span in traces.spans()]
    assert len(spans) > 10
    assert all(headers["authorization"] == CANARY for headers in traces.headers)  # there, and nowhere else
    output = said + listed + _call(file, "status", "--json").stdout + _dump(tmp_path) + "".join(spans)
    assert CANARY not in output.replace("${CANARY}", "")
    print(f"\n{len(fates)} files, {count} messages: {len(rows)} rows, {len(rejected)} rejects, {len(spans)} spans")


def _check_files(fates: dict[str, str], rows: list[str], rejected: list[str]) -> None:
    from urllib.parse import unquote

    def keys(names: list[str]) -> set[str]:
        return {unquote(name.split("?version=")[0].split("/", 3)[3]) for name in names if name.startswith("s3://")}

    delivered, refused = keys(rows), keys(rejected)
    wrong = {
        key: fate
        for key, fate in fates.items()
        if (fate == "row" and (key not in delivered or key in refused))
        or (fate == "reject" and (key in delivered or key not in refused))
    }
    assert wrong == {}


def _of(topic: str, names: list[str]) -> list[tuple[int, str]] | list[str]:
    return sorted((name for name in names if f"/{topic}/" in name), key=lambda name: int(name.rsplit("/", 1)[1]))[-1:]


def _rows(client: Any, bucket: str, folder: Path) -> list[str]:
    folder.mkdir()
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="out/"):
        for item in page.get("Contents", []):
            client.download_file(bucket, item["Key"], str(folder / item["Key"].rsplit("/", 1)[1]))
    return [row[0] for row in duckdb.sql(f"select record_id from read_parquet('{folder}/*.parquet')").fetchall()]


def _dump(folder: Path) -> str:
    return "".join(path.read_bytes().decode("latin-1") for path in folder.glob("ledger.db*"))
