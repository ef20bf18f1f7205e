"""Logs are read by machines and by people, and show no secret to either."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.config import PipelineSettings, Redactor, parse
from stream_infer.splits import Split

SPEAK = """
import json, logging, sys
from rich.console import Console
from stream_infer.ops.logs import log_to, tame_ray
from stream_infer.splits import Split
log_to(Console(stderr=True), sys.argv[1], lambda text: text.replace("hunter2", "***"))
import ray
tame_ray()
import ray.data
tame_ray()
log = logging.getLogger("stream_infer.driver.committer")
log.warning("split %s is divided", "abc", extra=Split.of("s", {}, folder="f", records=1, bytes=1).fields())
try:
    raise ValueError("with hunter2 in it")
except ValueError:
    log.exception("the committer failed")
logging.getLogger("ray").warning("a hint nobody needs")
logging.getLogger("ray.data").error("something is broken")
logging.getLogger("ray.data._internal.progress").warning("another hint nobody needs")
logging.getLogger("urllib3").info("chatter")
print("(raylet) A worker died or was killed while executing a task")
"""


def _spoken(kind: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-c", SPEAK, kind],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": root},
    )


@pytest.mark.parametrize("kind", ["json", "auto"])
def test_each_line_is_a_document_with_fields(kind: str) -> None:
    spoken = _spoken(kind)
    lines: list[dict[str, Any]] = [json.loads(line) for line in spoken.stderr.splitlines()]
    assert [line["message"] for line in lines] == [
        "split abc is divided",
        "the committer failed",
        "something is broken",
    ]
    first = lines[0]
    assert first["time"].endswith("Z")
    assert (first["level"], first["logger"]) == ("WARNING", "stream_infer.driver.committer")
    split = Split.of("s", {}, folder="f", records=1, bytes=1)
    assert {name: first[name] for name in ("source", "split", "trace_id")} == split.fields()
    assert "_ray_timestamp_ns" not in first
    assert "ValueError: with *** in it" in lines[1]["exc_info"]
    assert spoken.stdout == ""


def test_text_is_for_people() -> None:
    spoken = _spoken("text")
    assert "WARNING stream_infer.driver.committer: split abc is divided" in spoken.stderr
    assert "hunter2" not in spoken.stderr
    assert "nobody" not in spoken.stderr
    assert spoken.stdout == ""


def _settings(secret: str) -> PipelineSettings:
    return parse(
        {
            "name": "p",
            "ledger": f"postgresql+psycopg://me:{secret}@db/ledger",
            "sources": [
                {
                    "name": "stream",
                    "kind": "kafka",
                    "servers": "broker:9092",
                    "topics": ["texts"],
                    "options": {"sasl.password": f"{secret}-1", "security.protocol": "SASL_SSL"},
                }
            ],
            "model": {"kind": "python", "python": "a:B"},
            "sink": {
                "url": "s3://b/out/",
                "storage": {"secret_access_key": f"{secret}-2", "options": {"account_key": f"{secret}-3"}},
            },
            "telemetry": {"otlp": "http://c:4318", "headers": {"x-team": f"{secret}-4"}},
        }
    )


@given(st.from_regex(r"[A-Za-z0-9_~.-]{8,20}", fullmatch=True), st.text(max_size=20), st.text(max_size=20))
def test_no_secret_of_the_file_comes_through(secret: str, before: str, behind: str) -> None:
    redact = Redactor(_settings(secret))
    for shown in (secret, *(f"{secret}-{number}" for number in range(1, 5))):
        assert secret not in redact(f"{before}{shown}{behind}").replace(before, "").replace(behind, "")


def test_what_is_no_secret_stays_readable() -> None:
    redact = Redactor(_settings("hunter2!"))
    sentence = "Kafka at broker:9092 refuses; see sources.stream.options; s3://b/out/ and SASL_SSL are no secrets"
    assert redact(sentence) == sentence
    assert redact('{"url": "postgresql+psycopg://me:hunter2!@db"}') == '{"url": "postgresql+psycopg://me:***@db"}'


def test_a_line_of_the_log_says_what_it_speaks_of(caplog: pytest.LogCaptureFixture) -> None:
    split = Split.of("s", {}, folder="f", records=1, bytes=1)
    with caplog.at_level(logging.WARNING):
        logging.getLogger("stream_infer").warning("x", extra=split.fields())
    assert caplog.records[0].__dict__.items() >= split.fields().items()
