"""The committed dashboards keep the rules of Grafana's dashboard-linter, and are what a fresh build gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.build import HERE, files
from stream_infer.telemetry.metrics import METRICS
from tests.grafana import grafana_kit as kit

BOARDS = kit.boards()
PANELS = [(name, panel) for name, board in BOARDS.items() for panel in kit.panels(board)]
EXPRESSIONS = list(kit.expressions())
# dashboard-linter wants every counter under rate or increase. The balance of counters is a difference of totals: over
# a range each of them would be extrapolated on its own, and a balance of 0 would not be 0.
NO_RATE = {"Balance"}


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_committed_files_are_a_fresh_build(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == files()[path], "run `make dashboards` and commit what it writes"


def test_there_is_nothing_but_what_is_built() -> None:
    assert {path.name for path in HERE.glob("dashboards/*.json")} == {f"{name}.json" for name in BOARDS}


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_variables_pick_datasource_job_and_instance(board: dict[str, Any]) -> None:
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert list(variables)[:3] == ["datasource", "job", "instance"]
    assert variables["datasource"] | {"type": "datasource", "query": "prometheus"} == variables["datasource"]
    for name in list(variables)[1:]:
        variable = variables[name]
        assert variable["type"] == "query"
        assert variable["datasource"]["uid"] == "${datasource}"
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".+")
        assert variable["label"] == name.capitalize()
        assert variable["refresh"] == 2, "on time range change"
    assert 'job=~"$job"' in variables["instance"]["query"]
    assert not board["editable"]
    assert board["description"]
    assert board["uid"].startswith("stream-infer-")


def test_names_of_dashboards_and_panels_are_unique() -> None:
    assert len({board["uid"] for board in BOARDS.values()}) == len({board["title"] for board in BOARDS.values()}) == 4
    for board in BOARDS.values():
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        positions = [tuple(panel["gridPos"].get(side, 0) for side in "xy") for panel in board["panels"]]
        assert len(set(positions)) == len(positions)
        for panel in board["panels"]:
            assert panel["gridPos"].get("x", 0) + panel["gridPos"]["w"] <= 24, panel["title"]


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=lambda each: each if isinstance(each, str) else each["title"])
def test_panels_say_what_they_show(board: str, panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"
    assert panel["targets"], "a panel without a query shows nothing"
    for target in panel["targets"]:
        assert target["datasource"]["uid"] == "${datasource}"
        assert target["legendFormat"]
        assert not target.get("hide"), "a hidden query serves nobody"
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=lambda expression: expression.location)
def test_expressions_keep_the_rules(expression: kit.Expression) -> None:
    asked = kit.selectors(expression.expr)
    assert asked
    counters = {metric.full_name for metric in METRICS if metric.kind == "counter"}
    for selector in asked:
        assert selector.name in kit.series_names(), selector
        assert 'job=~"$job"' in selector.matchers, selector
        assert 'instance=~"$instance"' in selector.matchers, selector
        if selector.name in counters and expression.panel not in NO_RATE:
            assert re.search(rf"\b(rate|irate|increase)\({re.escape(selector.name)}\{{", expression.expr), selector
    for call, window in re.findall(r"\b(\w+)\([^()]*\[([^\]]+)\]\)", expression.expr):
        assert window == ("$__rate_interval" if call in ("rate", "irate", "deriv") else "$__range"), call
    assert len(re.findall(r"\[", expression.expr)) == len(
        re.findall(r"\[\$__(?:rate_interval|range)\]", expression.expr)
    )
    legends = re.findall(r"by \(([^)]*)\)", expression.expr)
    assert all(legends) or not legends


def test_legends_name_labels_that_their_expression_keeps() -> None:
    for name, panel in PANELS:
        for target in panel["targets"]:
            kept = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", target["expr"]))))
            if kept:
                used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                assert used <= kept, f"{name}: {panel['title']}"


def test_every_metric_is_on_a_dashboard() -> None:
    shown = {selector.name for expression in EXPRESSIONS for selector in kit.selectors(expression.expr)}
    missing = {metric.full_name for metric in METRICS if not any(name.startswith(metric.full_name) for name in shown)}
    assert missing == set()


def test_prometheus_parses_every_expression(tmp_path: Path) -> None:
    rules = [
        {"record": f"parsed:{number}", "expr": kit.substituted(expression.expr)}
        for number, expression in enumerate(EXPRESSIONS)
    ]
    file = tmp_path / "parsed.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "parsed", "rules": rules}]}))
    done = kit.promtool("check", "rules", "--lint=all", file)
    assert done.returncode == 0, done.stderr


def test_provisioning_points_at_the_folder_of_dashboards() -> None:
    sources = yaml.safe_load((HERE / "provisioning/datasources/stream-infer.yaml").read_text())
    providers = yaml.safe_load((HERE / "provisioning/dashboards/stream-infer.yaml").read_text())
    assert [source["type"] for source in sources["datasources"]] == ["prometheus"]
    (provider,) = providers["providers"]
    assert provider["options"]["path"].endswith("/dashboards")
    assert provider["allowUiUpdates"] is False
