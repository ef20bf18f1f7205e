"""Every rule of the doctor's table is seen to speak, and to be silent where all is well."""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.ops.watch.doctor import RULES, examine
from stream_infer.ops.watch.snapshot import DeathKind, Gpu, Recent, Records, RejectKind, Snapshot
from tests.ops.watch.snapshots import NOW, source, stage, well

FAR = {"eta_seconds": 600.0, "sources": [source("stream", lag=90_000, eta_seconds=600.0)]}
QUIET: dict[str, Any] = {"lag": 0, "in_flight": 0, "records_per_second": 0.0, "last_commit": NOW - 900}


def _rejecting(share: float) -> Recent:
    rejected = int(1000 * share)
    kinds = [
        RejectKind(source="stream", stage="read", error_type="UnicodeDecodeError", records=rejected - 1),
        RejectKind(source="inbox", stage="infer", error_type="ValueError", records=1),
    ]
    return Recent(seconds=60.0, committed=1000 - rejected, rejected=rejected, rejects=kinds)


CASES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "not running": ({"state": "not running"}, ["no service is running", "last acquired at"]),
    "silent": (
        {"state": "silent", "trouble": "the service of tickets at http://b:1 did not answer within 10 s"},
        ["the service of tickets at http://b:1 did not answer within 10 s", "overloaded"],
    ),
    "stopped": ({"state": "stopped"}, ["has stopped"]),
    "circuit breaker": (
        {"circuit_breaker": True, "trouble": "1,000 of 1,000 fail: bad model."},
        ["everything fails: 1,000", "bad model"],
    ),
    "source stopped": (
        {"sources": [source("inbox", failure="topic 'x' was made again; write on_recreated: adopt")]},
        ["source inbox stopped: topic 'x' was made again"],
    ),
    "conservation": ({"records": Records(unaccounted=3)}, ["3 records were read", "audit"]),
    "ledger unavailable": (
        {"ledger_trouble": "the ledger's database did not answer: locked"},
        ["commits wait for the ledger", "locked"],
    ),
    "execution failed": ({"state": "waiting", "trouble": "OutOfMemoryError"}, ["OutOfMemoryError", "started again"]),
    "stage stalled": (
        {"stages": [stage("read", 0.1, stalled=2, stall_reason="s3://in/a.txt: the store failed: 503")]},
        ["read waits for S3: s3://in/a.txt: the store failed: 503", "check S3"],
    ),
    "commits stalled": ({"trouble": "Kafka at b:9092 did not answer"}, ["commits wait for Kafka"]),
    "source stalled": (
        {"sources": [source("stream", trouble="Kafka at b:9092 did not answer: timed out")]},
        ["source stream finds no new work because it waits for Kafka"],
    ),
    "stuck": (
        {"started_at": NOW - 9000, "sources": [source("stream", last_commit=NOW - 400)], "bottleneck": "infer"},
        ["nothing was committed for 7 min while 2 splits are in flight", "infer may hang"],
    ),
    "many rejects": (
        {"recent": _rejecting(0.3)},
        ["rejects are 30 %", "read/UnicodeDecodeError of stream", "rejects FILE list"],
    ),
    "losses": (
        {"recent": Recent(lost=7), "sources": [source("stream", lost=7)]},
        ["7 records of stream expired or were deleted", "retention"],
    ),
    "stage fails": (
        {
            "stages": [stage("read", 0.6, failed=41, failed_share=0.41, failed_dependency="store")],
            "sources": [source("inbox", kind="files", location="s3://in/docs/")],
        },
        ["read waits for S3 at times: 41 % of its tries", "check S3"],
    ),
    "workers ended": (
        {
            "recent": Recent(
                deaths=[
                    DeathKind(stage="read", cause="memory", workers=1),
                    DeathKind(stage="infer", cause="died", workers=4),
                ]
            )
        },
        ["5 workers ended while working within the last minute: in infer one crashed", "memory of the nodes"],
    ),
    "slow ledger": ({"recent": Recent(commit_seconds=2.1)}, ["ledger commits take 2.1 s"]),
    "read is slow for the gpu": (
        {**FAR, "bottleneck": "read", "stages": [stage("read", 0.97)], "gpus": [Gpu(name="0", utilization=0.12)]},
        ["the GPU is only 12 % busy because read is the bottleneck (97 % busy)", "more CPUs"],
    ),
    "infer is slow": (
        {**FAR, "bottleneck": "infer", "stages": [stage("read", 0.2, 0.75), stage("infer", 0.98)]},
        ["infer is 98 % busy, read is blocked, 90,050 records wait (10 min to go)", "model.replicas.max"],
    ),
    "read is slow": ({**FAR, "bottleneck": "read", "stages": [stage("read", 0.9)]}, ["read is 90 % busy", "CPUs"]),
    "write is slow": ({**FAR, "bottleneck": "write", "stages": [stage("write", 0.9)]}, ["write is 90 % busy", "sink"]),
    "pool is busy": (
        {**FAR, "fused": True, "bottleneck": "infer", "stages": [stage("read", 0.3), stage("infer", 0.65)]},
        ["all actors are 95 % busy, mostly with infer", "cheaper"],
    ),
    "some rejects": ({"recent": _rejecting(0.05)}, ["50 records were rejected within the last minute, 5 % of all"]),
    "standby": ({"state": "standby"}, ["is on standby: host:1 owns the ledger"]),
    "starting": ({"state": "warming", "since": NOW - 20}, ["the service is warming"]),
    "slow start": (
        {"state": "warming", "since": NOW - 600},
        ["the service has been warming for 10 min", "model.gpus", "the log says more"],
    ),
    "draining": ({"state": "draining"}, ["drains"]),
    "producer stopped": (
        {"sources": [source("stream", **QUIET)]},
        ["no new offsets on stream since", "the producer stopped"],
    ),
    "no new objects": ({"sources": [source("inbox", kind="files", **QUIET)]}, ["no new objects in inbox since"]),
}


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
def test_every_rule_speaks(rule: str) -> None:
    changes, said = CASES[rule]
    findings = [finding for finding in examine(well(**changes)) if finding.rule == rule]
    assert len(findings) == 1
    for words in said:
        assert words in f"{findings[0].sentence} {findings[0].advice}"


def test_no_case_is_left_of_a_rule_that_is_gone() -> None:
    assert set(CASES) == {rule.name for rule in RULES}


def test_a_service_that_is_well_is_told_so_in_one_sentence() -> None:
    findings = examine(well())
    assert [finding.rule for finding in findings] == ["well"]
    assert findings[0].sentence == "all is well: 120 records/s; the oldest waiting record is 800 ms old"


def test_quiet_is_no_trouble() -> None:
    quiet = well(recent=Recent(seconds=60.0), sources=[source("stream", **QUIET)], in_flight_splits=0)
    findings = examine(quiet)
    assert [finding.severity for finding in findings] == ["well", "info"]
    assert "nothing waits" in findings[0].sentence


def test_only_what_stands_before_a_busy_stage_is_blocked_by_it() -> None:
    stages = [stage("read", 0.2, 0.75), stage("infer", 0.98), stage("write", 0.1, 0.6)]
    (finding,) = [
        finding for finding in examine(well(**FAR, bottleneck="infer", stages=stages)) if "infer" in finding.rule
    ]
    assert "infer is 98 % busy, read is blocked, 90,050" in finding.sentence


def test_a_busy_stage_without_a_backlog_is_no_news() -> None:
    busy = well(bottleneck="infer", stages=[stage("infer", 0.99)])
    assert [finding.rule for finding in examine(busy)] == ["well"]


def test_a_busy_stage_is_news_where_records_grow_old() -> None:
    late = well(bottleneck="infer", stages=[stage("infer", 0.99)], freshness=66.0)
    assert [finding.rule for finding in examine(late)] == ["infer is slow"]


def test_a_pool_that_may_still_grow_is_not_told_to_grow() -> None:
    growing = well(**FAR, bottleneck="infer", stages=[stage("infer", 0.99, actors=1, max_actors=4)])
    assert "may grow to 4" in examine(growing)[0].advice


@pytest.mark.parametrize(
    ("failed_dependency", "named"),
    [("kafka", "Kafka"), ("store", "the store"), ("queue", "the event queue"), ("other", "a dependency")],
)
def test_what_failed_is_named(failed_dependency: str, named: str) -> None:
    failing = stage("read", 0.6, failed=10, failed_share=0.2, failed_dependency=failed_dependency)
    (finding,) = [finding for finding in examine(well(stages=[failing])) if finding.rule == "stage fails"]
    assert f"read waits for {named} at times" in finding.sentence


def test_a_try_that_fails_now_and_then_is_no_news() -> None:
    for failed, share in ((4, 0.5), (50, 0.05)):
        rare = stage("read", 0.6, failed=failed, failed_share=share, failed_dependency="store")
        assert [finding.rule for finding in examine(well(stages=[rare]))] == ["well"]


def test_a_service_whose_circuit_breaker_is_open_is_not_just_started_again() -> None:
    stopped = well(state="stopped", circuit_breaker=True, trouble="1,000 of 1,000 fail")
    assert [finding.rule for finding in examine(stopped)] == ["circuit breaker"]


def test_a_service_that_never_ran_has_no_past() -> None:
    assert "its ledger was never acquired" in examine(well(state="not running", acquired_at=None))[0].sentence


@pytest.mark.parametrize(("cause", "fate"), [("hung", "one hung and was killed"), ("memory", "ran out of memory")])
def test_why_workers_end_is_told(cause: str, fate: str) -> None:
    recent = Recent(deaths=[DeathKind(stage="infer", cause=cause, workers=1)])
    (finding,) = examine(well(recent=recent))
    assert fate in finding.sentence
    assert finding.sentence.startswith("1 worker ended")


def test_the_worst_is_told_first() -> None:
    bad = well(recent=Recent(commit_seconds=5.0), sources=[source("inbox", failure="gone")])
    assert [finding.severity for finding in examine(bad)] == ["bad", "warn"]


def test_every_sentence_is_filled_with_facts_of_its_own_rule() -> None:
    fields = string.Formatter()
    for rule in RULES:
        facts = next(iter(rule.detect(well(**CASES[rule.name][0]))))
        for text in (rule.sentence, rule.advice):
            assert {name for _, name, _, _ in fields.parse(text) if name} <= facts.keys()


@given(st.text(), st.sampled_from(["trouble", "ledger_trouble"]))
def test_words_from_outside_never_break_a_sentence(text: str, field: str) -> None:
    for finding in examine(well(**{field: text})):
        assert len(finding.sentence) < 400


def test_a_snapshot_of_nothing_is_examined_too() -> None:
    assert examine(Snapshot(pipeline="p", at=NOW))[0].rule == "starting"


def test_the_page_of_the_docs_has_every_rule_word_for_word() -> None:
    page = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text()
    for rule in RULES:
        for text in (rule.sentence, rule.advice):
            assert re.sub(r"(\{\w+\})+", "…", text) in page
        assert f"| {rule.name} ({rule.severity}) |" in page
