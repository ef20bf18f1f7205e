"""The API: what it answers, how it refuses, and that no request whatever breaks it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import hypothesis
import pytest
import schemathesis
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from stream_infer.contracts import ObjectVersion, Planned
from stream_infer.ops.watch.search import search
from stream_infer.pipeline import Pipeline
from stream_infer.records import ObjectCoordinate
from stream_infer.splits import Split
from tests.ops.service.page_kit import BAD, ask, served, settings

_CHECKS = [
    schemathesis.checks.not_a_server_error,
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(settings(tmp_path_factory.mktemp("api"))) as url:
        yield url


def test_the_status_is_the_whole_picture(url: str) -> None:
    status = ask(f"{url}/api/v1/status").json
    assert status["records"] == {
        "planned": 11, "committed": 9, "rejected": 1, "lost": 0, "in_flight": 1, "unaccounted": 0
    }  # fmt: skip
    assert [(source["name"], source["rows"]) for source in status["sources"]] == [("stream", 9), ("inbox", 0)]
    assert status["owner"] == "an-earlier-run:1"
    assert [split["what"] for split in status["splits"]] == ["docs/a.txt", "tickets/0 0 … 9"]
    assert status["rejects"][0]["record_id"] == BAD
    assert status["findings"][0]["rule"] == "starting"


@pytest.mark.parametrize("name", [BAD, "tickets/0/7", "7"])
def test_where_is_a_record_by_id_place_or_offset(url: str, name: str) -> None:
    (fate,) = ask(f"{url}/api/v1/where?name={quote(name)}").json
    assert (fate["state"], fate["source"]) == ("rejected", "stream")
    assert "UnicodeDecodeError in read" in fate["reason"]


@pytest.mark.parametrize("name", ["s3://in/docs/a.txt", "docs/a.txt", "a.txt"])
def test_where_is_an_object_by_url_or_key(tmp_path: Path, name: str) -> None:
    with served(settings(tmp_path).model_copy(update={"sources": _plain(tmp_path)})) as url:
        (fate,) = ask(f"{url}/api/v1/where?name={quote(name)}").json
        assert (fate["state"], fate["record"]) == ("in_flight", "s3://in/docs/a.txt?version=v1#0")


@pytest.mark.parametrize("url", ["docs", "{}/docs", "file://{}/docs/"])
@pytest.mark.parametrize("name", ["{}/docs/a b.txt", "docs/a b.txt", "a b.txt", "file://{}/docs/a b.txt"])
def test_where_is_a_file_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = settings(tmp_path)
    stream, inbox = chosen.sources
    moved = inbox.model_copy(update={"url": url.format(tmp_path)})
    with closing(Pipeline(chosen.model_copy(update={"sources": [stream, moved]}))) as pipeline:
        pipeline.ledger().acquire("test")
        item: dict[str, Any] = {
            "key": f"{tmp_path}/docs/a b.txt".lstrip("/"),
            "version": "v1",
            "size": 3,
            "modified": 1.0,
        }
        split = Split.of("inbox", {"objects": [item]}, folder="d", records=1, bytes=3, planned_at=3.0)
        claim = ObjectVersion(str(ObjectCoordinate("file", "", item["key"], "v1")).partition("#")[0], 3, 0.0)
        pipeline.ledger().plan("inbox", [Planned(split, objects=(claim,))])
        (ending,) = search(pipeline.settings, pipeline.ledger(), name.format(tmp_path))
    assert (ending.state, ending.split_id) == ("in_flight", split.split_id)


def _plain(folder: Path) -> list[object]:
    stream, inbox = settings(folder).sources
    return [stream, inbox.model_copy(update={"url": "s3://in/docs/"})]


def test_what_was_never_planned_is_one_sentence(url: str) -> None:
    for name, said in (
        ("tickets/0/99", "tickets/0/99 is not planned yet: tickets/0 is planned up to offset 9"),
        ("kafka://c/tickets/0/10", "kafka://c/tickets/0/10 is not planned yet: tickets/0 is planned up to offset 9"),
        ("b.txt", "b.txt was never planned; the sources are stream (tickets at 127.0.0.1:1), inbox (s3://in/docs/)"),
    ):
        answer = ask(f"{url}/api/v1/where?name={quote(name)}")
        assert (answer.status, answer.json) == (404, {"error": said})
    assert ask(f"{url}/api/v1/rejects/show?record=kafka://c/t/0/1").status == 404


def test_what_means_nothing_is_refused_in_one_sentence(url: str) -> None:
    for path, status in (
        ("where?name=", 422),
        ("where", 422),
        ("where?name=%00", 422),
        (f"where?name=t/0/{'9' * 40}", 400),
        ("splits?limit=0", 422),
        ("rejects?state=odd", 422),
        ("where?name=kafka://c/t", 400),
        ("nothing", 404),
    ):
        answer = ask(f"{url}/api/v1/{path}")
        assert (path, answer.status) == (path, status)
        assert set(answer.json) == {"error"}
        assert "\n" not in answer.json["error"]


def test_rejects_are_listed_shown_and_replayed(url: str) -> None:
    (listed,) = ask(f"{url}/api/v1/rejects?source=stream&state=open").json
    assert (listed["record_id"], listed["error"], listed["state"]) == (BAD, "UnicodeDecodeError", "open")
    assert ask(f"{url}/api/v1/rejects?source=inbox").json == []
    (shown,) = ask(f"{url}/api/v1/rejects/show?record={BAD}").json
    assert [event["replay"] for event in shown["history"]] == [0]
    asked = ask(
        f"{url}/api/v1/rejects/replay",
        "POST",
        f'{{"records": ["{BAD}"]}}'.encode(),
        Content_Type="application/json",
        X_Stream_Infer="test",
    )
    assert (asked.status, asked.json) == (202, {"asked": 1})


def test_the_doctor_answers_in_words(url: str) -> None:
    verdict = ask(f"{url}/api/v1/doctor").json
    assert verdict["verdict"] == "the service is starting and processes no record yet"
    assert verdict["severity"] == "warn"


def test_everything_of_it_is_described(url: str) -> None:
    document = ask(f"{url}/api/openapi.json").json
    undescribed = []
    for path, ways in document["paths"].items():
        for method, call in ways.items():
            parts = {"": call, **{f" {item['name']}": item for item in call.get("parameters", ())}}
            parts |= {f" {status}": answer for status, answer in call["responses"].items()}
            undescribed += [f"{method} {path}{name}" for name, part in parts.items() if not part.get("description")]
    for name, schema in document["components"]["schemas"].items():
        undescribed += [] if schema.get("description") or "HTTPValidation" in name else [name]
    assert undescribed == []
    assert document["info"]["description"]


def test_no_request_whatever_breaks_it(url: str) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/api/openapi.json").include(path_regex="^/api/v1/(?!events)")

    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()

        @hypothesis.given(case=operation.as_strategy())
        @hypothesis.settings(max_examples=20, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
        def holds(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=_CHECKS, headers={"X-Stream-Infer": "test"})

        holds()
