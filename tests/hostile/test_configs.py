"""Wrong pipeline files: each ends in exit 2 and one clear sentence that names the setting; none in a traceback."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream_infer.config import parse
from stream_infer.errors import ConfigError
from stream_infer.ops import cli

SECRET = "hunter2-canary"
GOOD: dict[str, Any] = {
    "name": "tickets",
    "ledger": "sqlite:///ledger.db",
    "sources": [
        {"name": "inbox", "kind": "files", "url": "s3://in/", "storage": {"secret_access_key": SECRET}},
        {
            "name": "stream",
            "kind": "kafka",
            "servers": "127.0.0.1:9",
            "topics": ["t"],
            "options": {"sasl.password": SECRET},
        },
    ],
    "model": {"kind": "python", "python": "m:C"},
    "sink": {"url": "s3://out/"},
    "limits": {"in_flight": "2GiB"},
}
DELETED = object()
CASES: list[tuple[str, Any]] = [
    ("name", DELETED),
    ("name", ""),
    ("name", "a b"),
    ("name", "../x"),
    ("name", "x" * 100),
    ("name", 7),
    ("name", None),
    ("name", ["x"]),
    ("ledger", DELETED),
    ("ledger", None),
    ("ledger", 5),
    ("ledger", "${NO_SUCH_THING}"),
    ("ledger", {}),
    ("sources", DELETED),
    ("sources", []),
    ("sources", "s3://in/"),
    ("sources", {}),
    ("sources", [None]),
    ("sources", ["x"]),
    ("sources", [{}]),
    ("sources.0.kind", "ftp"),
    ("sources.0.kind", DELETED),
    ("sources.0.kind", ["files"]),
    ("sources.0.name", "stream"),
    ("sources.0.name", "a/b"),
    ("sources.0.url", DELETED),
    ("sources.0.url", 5),
    ("sources.0.format", "exe"),
    ("sources.0.discover.poll", "soon"),
    ("sources.0.discover.poll", -1),
    ("sources.0.discover.poll", "1 fortnight"),
    ("sources.0.discover.polls", 1),
    ("sources.0.after", "burn"),
    ("sources.0.after", {"mvoe": "s3://done/"}),
    ("sources.0.after", {"move": 5}),
    ("sources.0.storage.key", "x"),
    ("sources.0.storage", "x"),
    ("sources.0.lane", "fast"),
    ("sources.0.glob", 5),
    ("sources.1.servers", DELETED),
    ("sources.1.servers", 9092),
    ("sources.1.topics", []),
    ("sources.1.topics", "t"),
    ("sources.1.topic", "t"),
    ("sources.1.start", "yesterday"),
    ("sources.1.start", 5),
    ("sources.1.format", "csv"),
    ("sources.1.format", "pointer"),
    ("sources.1.pointer", {"prefixes": []}),
    ("sources.1.on_expired", "panic"),
    ("sources.1.on_recreated", "x"),
    ("sources.1.options", "x"),
    ("preprocess", "no colon"),
    ("preprocess", "os;system:x"),
    ("model", DELETED),
    ("model", None),
    ("model", "gpt"),
    ("model.kind", "tensorflow"),
    ("model.kind", DELETED),
    ("model.python", "m"),
    ("model.python", "m:C()"),
    ("model.gpus", -1),
    ("model.gpus", "all"),
    ("model.cpus", 0),
    ("model.batch.tokens", 0),
    ("model.batch.rows", -5),
    ("model.batch.wait", "x"),
    ("model.replicas", {"min": 3, "max": 1}),
    ("model.replicas.min", 0),
    ("model.replicas", 3),
    ("model.path", "x"),
    ("sink", DELETED),
    ("sink.url", DELETED),
    ("sink.url", 5),
    ("sink.kind", "csv"),
    ("sink.keep", "text"),
    ("sink.partition", "hour"),
    ("limits.in_flight", "2 gigs"),
    ("limits.in_flight", 0),
    ("limits.in_flight", -1),
    ("limits.attempts", 0),
    ("limits.attempts", 1.5),
    ("limits.attempts", "many"),
    ("limits.freshnes", 1),
    ("limits.freshness", "-1s"),
    ("limits.record_bytes", "1XB"),
    ("limits", [1]),
    ("limits", "all"),
    ("stages", "two"),
    ("serve.port", 70000),
    ("serve.port", -1),
    ("serve.port", "http"),
    ("serve", 8000),
    ("telemetry.otlp", 5),
    ("rejects.url", 5),
    ("sinc", {}),
    ("model.trust", True),
    ("", None),
    ("__proto__", {}),
]
TEXTS = {
    "nothing": "",
    "not YAML": "a: [1",
    "a tab": "name:\tx\n\tledger: y",
    "a list": "- name: x",
    "a word": "hello",
    "two documents": "name: x\n---\nname: y\n",
    "a Python object": "!!python/object/apply:os.system ['touch executed']",
    "a Python name": "name: !!python/name:os.system",
    "a loop": "a: &a [*a]",
    "a billion laughs": "\n".join(
        [
            "a: &a [x,x,x,x,x,x,x,x,x]",
            *(f"{n}: &{n} [{','.join([f'*{p}'] * 9)}]" for p, n in zip("abcdefg", "bcdefgh", strict=True)),
        ]
    ),
    "an unknown alias": "a: *b",
    "the same key twice": "name: x\nname: y\n",
    "a NUL": "name: \0",
    "a control character": "name: \x01",
    "deep": "a: " + "[" * 5000 + "]" * 5000,
    "a large number": "limits: {attempts: " + "9" * 5000 + "}",
    "a date": "name: 2026-01-01\nledger: 2026-01-01",
}


def _broken(path: str, value: Any) -> dict[str, Any]:
    document: Any = copy.deepcopy(GOOD)
    *way, last = path.split(".")
    node = document
    for name in way:
        node = node[int(name)] if isinstance(node, list) else node.setdefault(name, {})
    if value is DELETED:
        del node[last]
    else:
        node[last] = value
    return document


def _said(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str = "validate"
) -> str:
    monkeypatch.setattr("sys.argv", ["stream-infer", command, str(file)])
    monkeypatch.chdir(file.parent)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    output = capsys.readouterr()
    assert ended.value.code == 2, output
    assert output.out == ""
    said = " ".join(output.err.split())
    assert said.startswith("stream-infer: "), said
    assert "Traceback" not in said
    assert SECRET not in said
    assert {path.name for path in file.parent.iterdir()} == {file.name}, "something was executed"
    return said


def test_there_are_many() -> None:
    assert len({(path, repr(value)) for path, value in CASES}) + len(TEXTS) >= 100


@pytest.mark.parametrize(("path", "value"), CASES, ids=lambda item: str(item)[:40] or "empty")
def test_a_wrong_setting(
    path: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(yaml.safe_dump(_broken(path, value)))
    said = _said(file, monkeypatch, capsys)
    assert path.rsplit(".", 1)[-1] in said or path.split(".")[0] in said, said
    assert len(said) < 600


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_a_file_that_is_no_pipeline(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "p.yaml"
    file.write_bytes(text.encode())
    assert "p.yaml" in _said(file, monkeypatch, capsys)


def test_a_file_that_is_not_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "p.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in _said(file, monkeypatch, capsys)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300)
@example(path="sources.0.after", value={"\x1e": None})
@given(path=st.sampled_from([case[0] for case in CASES if case[0]]), value=_VALUES)
@example(path="sources.0.after", value={"\x1e": None})
@example(path="model", value={"\x1b[2J\nstream-infer: all is well": None, "\ud800": 1})
def test_any_value_anywhere_is_taken_or_told(path: str, value: Any) -> None:
    said = _refusal(_broken(path, value))
    assert SECRET not in said
    assert all(line.startswith("p.yaml: ") and line.isprintable() for line in said.splitlines()), said


def _refusal(document: dict[str, Any]) -> str:
    """What is wrong with it; empty when it is taken. Any other error is a defect, and raised."""
    try:
        parse(document, "p.yaml")
    except ConfigError as error:
        return str(error)
    return ""
