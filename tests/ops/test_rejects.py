"""The commands about rejects, on a ledger that has some; no service runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from stream_infer import config
from stream_infer.contracts import Planned
from stream_infer.ops import cli
from stream_infer.pipeline import Pipeline
from stream_infer.rejects import RejectQuery
from stream_infer.splits import Receipt, Reject, Split

FILE = """
name: p
ledger: sqlite:///{folder}/state/ledger.db
sources: [{{name: inbox, kind: files, url: "{folder}/in"}}]
model: {{kind: python, python: "no_such_module:Model"}}
sink: {{url: "{folder}/out"}}
serve: null
"""
NAMES = [f"file:///in/{number}.txt?version=1#0" for number in range(3)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "p.yaml"
    path.write_text(FILE.format(folder=tmp_path))
    pipeline = Pipeline.from_file(path)
    ledger = pipeline.ledger()
    ledger.acquire("test")
    split = Split.of("inbox", {"objects": []}, folder="f", records=3, bytes=3)
    ledger.plan("inbox", [Planned(split)])
    errors = ["decode", "decode", "ValueError"]
    rejects = tuple(
        Reject(name, "inbox", "read", error, "no", 1, time.time() - 3600 * number)
        for number, (name, error) in enumerate(zip(NAMES, errors, strict=True))
    )
    ledger.commit([Receipt(split.split_id, "inbox", 1, split.bounds, rejects=rejects)])
    ledger.keep_samples({1: "naïve".encode(), 2: b"\xff\x00"})
    pipeline.close()
    return path


def _call(file: Path, *arguments: str, points: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "STREAM_INFER_CRASH": points}
    command = [sys.executable, "-m", "stream_infer.ops.cli", "rejects", str(file), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=file.parent, env=environment)


def _json(file: Path, *arguments: str) -> Any:
    return json.loads(_call(file, *arguments, "--json").stdout)


def test_list_filters_and_keeps_its_shape(file: Path) -> None:
    rejects = _json(file, "list")
    assert [item["record_id"] for item in rejects] == NAMES
    promised = ["record_id", "source", "stage", "error", "reason", "attempts", "rejected_at"]
    assert list(rejects[0])[:8] == [*promised, "state"]
    assert [item["record_id"] for item in _json(file, "list", "--error", "decode", "--since", "30m")] == NAMES[:1]
    assert [item["record_id"] for item in _json(file, "list", NAMES[2])] == NAMES[2:]
    assert _json(file, "list", "--state", "resolved") == []
    wrong = _call(file, "list", "--since", "yesterday")
    assert wrong.returncode == 2
    assert "write 2026-01-31" in " ".join(wrong.stderr.split())


def test_show_tells_everything(file: Path) -> None:
    text, binary = _json(file, "show", NAMES[0], NAMES[1])
    assert text["sample"] == {"encoding": "text", "data": "naïve"}
    assert binary["sample"] == {"encoding": "base64", "data": "/wA="}
    assert [event["replay"] for event in text["history"]] == [0]
    assert "sample (text): naïve" in _call(file, "show", NAMES[0]).stdout


def test_a_request_is_durable_or_was_never_made(file: Path) -> None:
    (file.parent / "fired").mkdir()
    for point, left in (("ledger.request.row", 0), ("ledger.request.committed", 2)):
        killed = _call(file, "replay", "--error", "decode", points=f"{file.parent}/fired:{point}")
        assert killed.returncode == -signal.SIGKILL
        pipeline = Pipeline.from_file(file)
        pipeline.ledger().acquire("test")
        assert len(pipeline.ledger().replayable("inbox", 9)) == left
        pipeline.close()
    assert _json(file, "replay", "--error", "ValueError") == {"asked": 1}
    pipeline = Pipeline.from_file(file)
    assert pipeline.replay(RejectQuery(source="inbox")) == 3
    pipeline.close()


def test_the_commands_of_the_page_exist_with_their_options() -> None:
    page = (Path(__file__).parents[2] / "docs" / "rejects.md").read_text()
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    lines = re.findall(r"^    stream-infer (.*)$", page, re.M)
    assert len(lines) >= 7
    for line in lines:
        name, *arguments = shlex.split(line)
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert {argument for argument in arguments if argument.startswith("--")} <= options, line
    example = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", page, re.S)[0])
    settings = config.parse({**yaml.safe_load(FILE.format(folder="/p")), **example})
    assert settings.rejects.sample == 1024
