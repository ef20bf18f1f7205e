"""Canaries in every place where a secret may stand are looked for in all that the service says while everything fails."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml

from stream_infer.config import Storage
from stream_infer.ops.parts.process import free_port

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]
HERE = Path(__file__).parent
CANARY = "canary+7f3a9c/must=never:be@seen"
FORMS = (CANARY, quote(CANARY, safe=""), base64.b64encode(CANARY.encode()).decode(), repr(CANARY)[1:-1])
PAGES = (
    "/",
    "/metrics",
    "/healthz",
    "/readyz",
    "/api/v1/status",
    "/api/v1/where?name=t/0/1",
    "/api/v1/doctor",
    "/api/v1/rejects",
    "/none",
)


def _start(file: Path, *arguments: str) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    environment = {**os.environ, "PYTHONPATH": path, "CANARY": CANARY}
    with (file.parent / "said.txt").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "stream_infer.ops.cli", arguments[0], str(file), *arguments[1:]],
            cwd=file.parent,
            env=environment,
            stdout=said,
            stderr=said,
        )


def _write(folder: Path, **settings: object) -> Path:
    file = folder / "pipeline.yaml"
    file.write_text(yaml.safe_dump({"model": {"kind": "python", "python": "hostile_model:Length"}, **settings}))
    return file


def _answers(port: int) -> str:
    output = ""
    for page in PAGES:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=10) as answer:
                output += answer.read().decode()
        except urllib.error.HTTPError as error:
            output += error.read().decode()
    return output


def _clean(output: str) -> None:
    leaked = [form for form in FORMS if form in output]
    assert leaked == [], output[output.index(leaked[0]) - 300 :][:600]


def test_stores_and_brokers_that_refuse_tell_no_secret(
    kafka: str, kafka_topic: Callable[..., str], s3: Storage, s3_bucket: Callable[[], str], tmp_path: Path
) -> None:
    port, bucket = free_port(), s3_bucket()
    storage = {**s3.model_dump(exclude_defaults=True), "secret_access_key": "${CANARY}"}
    options = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "u",
        "sasl.password": "${CANARY}",
    }
    file = _write(
        tmp_path,
        name="secrets",
        ledger=f"sqlite:///{tmp_path}/ledger.db",
        sources=[
            {"name": "inbox", "kind": "files", "url": f"s3://{bucket}/in/", "storage": storage},
            {"name": "stream", "kind": "kafka", "servers": kafka, "topics": [kafka_topic()], "options": options},
        ],
        sink={"url": str(tmp_path / "out")},  # where a sink refuses, the start waits and no source is asked
        serve={"port": port},
        telemetry={"otlp": "http://127.0.0.1:1", "headers": {"authorization": "Bearer ${CANARY}"}},
    )
    process = _start(file, "run")
    try:
        deadline = time.monotonic() + 400  # Ray may need five starts on a machine under load
        output, waiting = "", True
        while waiting:
            assert time.monotonic() < deadline, output
            assert process.poll() is None, (tmp_path / "said.txt").read_text()
            try:
                output = _answers(port)
                status = json.loads(urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/status").read())
                waiting = not all(source["trouble"] for source in status["sources"])
            except OSError:
                time.sleep(0.5)  # not up yet
        _clean(output)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for command in (("status",), ("status", "--json"), ("audit",), ("rejects", "list"), ("doctor",), ("validate",)):
        _start(file, *command).wait(60)
    _clean((tmp_path / "said.txt").read_text())
    _clean((tmp_path / "ledger.db").read_bytes().decode("latin-1"))


def test_a_ledger_out_of_reach_tells_no_password(tmp_path: Path) -> None:
    secret = quote(CANARY, safe="")
    for number, url in enumerate(
        (
            f"postgresql+psycopg://u:{secret}@127.0.0.1:1/d",
            f"postgresql+psycopg://u:{secret}@127.0.0.1:1/d?sslpassword={secret}",
            f"mysql://u:{secret}@127.0.0.1/d",
            f"postgresql+psycopg://u:{CANARY}@127.0.0.1:1/d",
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        source = {"name": "inbox", "kind": "files", "url": f"{folder}/in"}
        file = _write(folder, name="secrets", ledger=url, sources=[source], sink={"url": f"{folder}/out"}, serve=None)
        for command in (("status",), ("audit",), ("where", "t/0/1"), ("rejects", "list"), ("validate",)):
            _start(file, *command).wait(60)
        said = (folder / "said.txt").read_text()
        _clean(said)
        assert "Traceback" not in said
        assert "stream-infer: ledger" in said or "did not answer" in said, said
