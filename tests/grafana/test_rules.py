"""Rules: linted, timed by promtool, and each alert with a section of the runbook."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from grafana import rules
from grafana.alerts import ALERTS, Alert
from grafana.build import HERE
from grafana.records import RECORDS
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metrics import Metrics
from tests.grafana import grafana_kit as kit
from tests.grafana import rule_cases

FILE = HERE / "alerts" / "stream-infer.rules.yaml"
RUNBOOK = HERE.parent / "docs" / "runbook.md"
WINDOWS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def test_promtool_finds_no_fault_in_the_rules() -> None:
    done = kit.promtool("check", "rules", "--lint=all", "--lint-fatal", FILE)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", rule_cases.CASES, ids=lambda case: case.name)
def test_alerts_fire_when_they_should(case: rule_cases.Case, tmp_path: Path) -> None:
    file = tmp_path / "case.yaml"
    file.write_text(
        yaml.safe_dump({"rule_files": [str(FILE)], "evaluation_interval": "1m", "tests": [case.document()]})
    )
    done = kit.promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    fires = {name for case in rule_cases.CASES for alerts in case.fires.values() for name in alerts}
    assert {f"StreamInfer{name}" for name in fires} == {alert.name for alert in ALERTS}
    for name in fires:
        assert any(not any(name in alerts for alerts in case.fires.values()) for case in rule_cases.CASES)


@pytest.mark.parametrize("each", [*RECORDS, *ALERTS], ids=lambda each: each.name)
def test_rules_ask_for_what_is_exported(each: Alert) -> None:
    asked = kit.selectors(each.expr)
    assert asked
    assert {selector.name for selector in asked} <= kit.series_names()


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_alerts_say_what_is_wrong_and_where_to_read_on(alert: Alert) -> None:
    rule = alert.rule("https://example.org/runbook")
    assert re.fullmatch(r"StreamInfer[A-Z]\w+", alert.name)
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["description"].endswith(".")
    used = set(re.findall(r"\$labels\.(\w+)", alert.summary + alert.description))
    assert used <= {"job", "instance", "source", "stage", "error_type", "cause", "reason", "topic", "partition"}
    assert alert.name in _sections()
    assert rule["annotations"]["runbook_url"].endswith(f"#{alert.name.lower()}")


def test_sections_of_the_runbook_say_what_it_means_how_to_confirm_and_what_to_do() -> None:
    sections = _sections()
    assert list(sections) == [alert.name for alert in ALERTS], "in the order of the alerts, and no other"
    for name, text in sections.items():
        for heading in ("Meaning", "Confirm", "Do"):
            assert f"**{heading}.**" in text, f"{name} has no {heading}"


def test_names_in_the_runbook_exist() -> None:
    named = set(re.findall(r"\b(stream_infer_\w+)", RUNBOOK.read_text(encoding="utf-8")))
    assert named <= kit.series_names()


def test_accelerated_rules_are_the_same_rules() -> None:
    accelerated = rules.accelerated(60)
    for group, same in zip(rules.groups(), accelerated["groups"], strict=True):
        assert same["interval"] == "1s"
        for rule, quick in zip(group["rules"], same["rules"], strict=True):
            assert {key: rule.get(key) for key in ("alert", "record", "labels", "annotations")} == {
                key: quick.get(key) for key in ("alert", "record", "labels", "annotations")
            }
            for window, shorter in zip(
                *(re.findall(r"\[(\d+)(\w)\]", each["expr"]) for each in (rule, quick)), strict=True
            ):
                long = int(window[0]) * WINDOWS[window[1]]
                assert int(shorter[0]) == max(5, long // 60)


def test_an_alert_may_be_accelerated_less_than_the_others() -> None:
    by_name = {
        rule["alert"]: rule for rule in rules.accelerated(60, divisors={"StreamInferRestarts": 2})["groups"][1]["rules"]
    }
    assert "[900s]" in by_name["StreamInferRestarts"]["expr"]
    assert "[15s]" in by_name["StreamInferRecordsLost"]["expr"]


def test_promtool_finds_no_fault_in_what_is_exported() -> None:
    metrics = Metrics(["inbox"], "model")
    metrics.info(m.BUILD_INFO, "1", "3.11", "2.60")
    from prometheus_client import generate_latest

    done = kit.promtool("check", "metrics", text=generate_latest(metrics.registry).decode())
    assert done.returncode == 0, done.stdout + done.stderr


def _sections() -> dict[str, str]:
    parts = re.split(r"^## (StreamInfer\w+)$", RUNBOOK.read_text(encoding="utf-8"), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))
