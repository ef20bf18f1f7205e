"""Every wrong setting is told in one sentence that names it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from stream_infer.config import load, parse
from stream_infer.errors import ConfigError

GOOD: dict[str, Any] = {
    "name": "tickets",
    "ledger": "sqlite:///ledger.db",
    "sources": [
        {"name": "inbox", "kind": "files", "url": "s3://in/", "discover": {"poll": "500ms"}},
        {"name": "stream", "kind": "kafka", "servers": "127.0.0.1:9092", "topics": ["t"]},
    ],
    "model": {"kind": "python", "python": "m:C"},
    "sink": {"url": "s3://out/"},
    "limits": {"in_flight": "2GiB", "freshness": "1.5s"},
}


def test_units_are_read() -> None:
    settings = parse(GOOD)
    assert settings.limits.in_flight == 2 * 2**30
    assert settings.limits.freshness == 1.5
    assert settings.sources[0].model_dump()["discover"]["poll"] == 0.5


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("limits", "freshnes"), 1, ["limits.freshnes", "did you mean 'freshness'"]),
        (("limits", "in_flight"), "2 gigs", ["limits.in_flight", "256MiB"]),
        (("sources", 1, "start"), "yesterday", ["sources.1", "earliest"]),
        (("sources", 1, "format"), "pointer", ["sources.1", "pointer.prefixes"]),
        (("sources", 1, "name"), "inbox", ["two sources are named 'inbox'"]),
        (("model", "kind"), "tensorflow", ["model", "transformers"]),
        (("model", "replicas"), {"min": 4, "max": 2}, ["model.replicas", "max: 4"]),
        (("ledger",), "${NO_SUCH_VARIABLE_HERE}", ["ledger", "NO_SUCH_VARIABLE_HERE"]),
        (("sink",), {}, ["sink.url", "missing"]),
    ],
)
def test_a_wrong_setting_is_named(path: tuple[Any, ...], value: Any, words: list[str]) -> None:
    document: Any = copy.deepcopy(GOOD)
    section = document
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    with pytest.raises(ConfigError) as raised:
        parse(document, "pipeline.yaml")
    for word in words:
        assert word in str(raised.value)


def test_a_secret_never_reaches_an_error_or_a_repr() -> None:
    document = copy.deepcopy(GOOD)
    document["sink"]["storage"] = {"secret_access_key": "hunter2-secret"}
    document["sources"][1]["options"] = {"sasl.password": "hunter2-secret"}
    assert "hunter2-secret" not in repr(parse(document))
    document["limits"]["attempts"] = "many"
    with pytest.raises(ConfigError) as raised:
        parse(document)
    assert "hunter2-secret" not in str(raised.value)


def test_a_file_that_is_not_there_or_not_yaml(tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(ConfigError, match=r"not YAML at line"):
        load(tmp_path / "bad.yaml")


@pytest.mark.parametrize(
    ("section", "old", "sentence"),
    [
        (("limits",), "storm", "limits.storm: is now named limits.circuit_breaker"),
        (("limits",), "generation_splits", "limits.generation_splits: is now named limits.execution_splits"),
        (("model", "batch"), "wait", "model.batch.wait: was removed"),
    ],
)
def test_an_old_name_of_a_setting_is_refused_with_its_new_one(
    section: tuple[str, ...], old: str, sentence: str
) -> None:
    document: Any = copy.deepcopy(GOOD)
    inner = document
    for name in section:
        inner = inner.setdefault(name, {})
    inner[old] = 1
    with pytest.raises(ConfigError, match=sentence):
        parse(document)
