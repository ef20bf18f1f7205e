"""`doctor` and `top`: with a service, without one, and how one leaves."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from stream_infer import config
from stream_infer.ops.parts.process import free_port
from stream_infer.ops.watch.address import NoService, address
from stream_infer.ops.watch.doctor import examine
from stream_infer.ops.watch.terminal import picture, spark
from stream_infer.pipeline import Pipeline
from tests.ops.cli_kit import call
from tests.ops.service.page_kit import fill, serve_filled, settings
from tests.ops.watch.snapshots import source, stage, well

TOKEN = "a-token-of-the-tests-0123456789"
ROOT = Path(__file__).parents[2]


def _file(folder: Path, **serve: object) -> Path:
    file = folder / "p.yaml"
    file.write_text(yaml.safe_dump(settings(folder, **serve).model_dump(mode="json")))
    return file


@contextlib.contextmanager
def _serving(file: Path) -> Iterator[None]:
    with serve_filled(config.load(file)):
        yield


def test_the_doctor_asks_the_service_and_without_one_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _file(tmp_path, token=TOKEN)
    with _serving(file):
        assert call(monkeypatch, "doctor", str(file)) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert "the service is starting" in said
        assert "asked: the service at http://127.0.0.1:" in said
    assert call(monkeypatch, "doctor", str(file)) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "no service is running" in said
    assert "stream-infer run FILE" in said
    assert "asked: the ledger" in said
    assert call(monkeypatch, "doctor", str(file), "--json") == 1
    assert json.loads(capsys.readouterr().out)[0]["rule"] == "not running"


def test_top_without_a_service_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for serve in ({"port": 0}, {"port": free_port()}):
        assert call(monkeypatch, "top", str(_file(tmp_path, **serve))) == 1
        said = " ".join(capsys.readouterr().err.split())
        assert said.startswith("stream-infer: no service of tickets ")
        assert "Traceback" not in said
    file = _file(tmp_path)
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "serve": None}))
    assert call(monkeypatch, "top", str(file)) == 2
    assert "serve: is null" in " ".join(capsys.readouterr().err.split())


def test_a_wrong_token_is_the_services_own_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _file(tmp_path, token=TOKEN, port=free_port())
    with _serving(file):
        other = tmp_path / "other.yaml"
        other.write_text(file.read_text().replace(TOKEN, TOKEN[::-1]))
        for command in ("top", "doctor"):
            assert call(monkeypatch, command, str(other)) == 1
            said = capsys.readouterr().err
            assert "send the token of serve.token" in " ".join(said.split())
            assert TOKEN[::-1] not in said


def test_top_shows_the_picture_once_where_there_is_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _file(tmp_path)
    with _serving(file):
        assert call(monkeypatch, "top", str(file)) == 0
    said = capsys.readouterr().out
    assert "11 planned = 9 rows + 1 rejected" in said
    assert "tickets/0/7" in said


def test_top_lives_on_a_terminal_and_ctrl_c_leaves_it_clean(tmp_path: Path) -> None:
    file = _file(tmp_path)
    # a shell that runs the tests in the background has it ignored, and what they start would ignore it too
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)
    with _serving(file), contextlib.ExitStack() as after:
        after.callback(signal.signal, signal.SIGINT, heard)
        ours, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "110", "LINES": "40", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "stream_infer.ops.cli", "top", str(file)]
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        shown = _read_until(ours, b"planned = 9 rows")
        process.send_signal(signal.SIGINT)
        shown += _read_until(ours, b"\x1b[?1049l")
        assert process.wait(60) == 0
        os.close(ours)
    assert shown.startswith(b"\x1b[?1049h")
    assert b"Traceback" not in shown


def _read_until(terminal: int, wanted: bytes) -> bytes:
    shown, deadline = b"", time.monotonic() + 120
    while wanted not in shown:
        assert time.monotonic() < deadline, shown
        if select.select([terminal], [], [], 1.0)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:  # the other end is closed
                break
    assert wanted in shown
    return shown


def test_a_service_that_is_there_and_says_nothing_is_no_service_that_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stream_infer.ops.watch import client
    from stream_infer.ops.watch.ask import ask_doctor

    monkeypatch.setattr(client, "_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        findings, respondent = ask_doctor(_file(tmp_path, port=silent.getsockname()[1]))
    assert findings[0].rule == "silent"
    assert "did not answer within 0.2 s" in findings[0].sentence
    assert respondent.startswith("the ledger")


def test_the_note_of_a_port_comes_and_goes(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    with pytest.raises(NoService, match="start it"):
        address(chosen)
    with serve_filled(chosen) as (url, _):
        assert address(chosen) == url
    with pytest.raises(NoService):
        address(chosen)


def test_hosts_become_urls_that_this_machine_reaches(tmp_path: Path) -> None:
    cases = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]", "localhost": "localhost", "10.0.0.1": "10.0.0.1"}
    for host, name in cases.items():
        assert address(settings(tmp_path, host=host, port=81, token=TOKEN)) == f"http://{name}:81"


def test_the_terminals_picture_names_the_bottleneck_and_fits() -> None:
    troubled = well(
        bottleneck="infer",
        stages=[stage("read", 0.2, 0.7, stalled=1, stall_reason="s3://in/a: 503"), stage("infer", 0.98)],
        sources=[source("stream", failure="topic was made again"), source("inbox", trouble="s3://in: 503")],
    )
    troubled = troubled.model_copy(update={"findings": examine(troubled)})
    for width in (40, 60, 80, 120):
        console = Console(width=width, file=io.StringIO())
        console.print(picture(troubled, width))
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert max(map(len, text.splitlines())) <= width
        assert "waits for S3" in " ".join(text.replace("│", " ").split())
        assert "infer ◀" in text if width < 76 else "◀ bottleneck" in text
        for named in ("read", "infer", "stream", "inbox"):
            assert re.search(rf"^ {named} ", text, re.M), (width, named)
        assert "…" not in text


def test_an_advice_is_given_once(capsys: pytest.CaptureFixture[str]) -> None:
    away = well(sources=[source("a", trouble="s3://in: 503"), source("b", trouble="s3://in: 503")])
    Console(width=200).print(picture(away.model_copy(update={"findings": examine(away)})))
    assert capsys.readouterr().out.count("check S3") == 1


def test_a_sparkline_is_as_high_as_its_greatest() -> None:
    assert spark([0.0, 5.0, 10.0]) == "▁▄█"
    assert spark([0.0, 0.0]) == "▁▁"
    assert spark([]) == ""


def test_the_doctor_reads_a_ledger_that_another_process_fills(tmp_path: Path) -> None:
    from stream_infer.ops.watch.ask import ask_doctor

    file = _file(tmp_path)
    with contextlib.closing(Pipeline(config.load(file))) as pipeline:
        fill(pipeline)
    findings, respondent = ask_doctor(file)
    assert findings[0].rule == "not running"
    assert respondent.startswith("the ledger")
