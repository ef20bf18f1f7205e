"""What the tests of dashboards and rules share: expressions, their selectors, promtool."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from grafana.build import BOARDS, HERE
from grafana.records import RECORDS
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metrics import METRICS

_NAME = re.compile(r"(?<![\w$])([a-zA-Z_:][\w:]*)(?![\w:])(\{[^}]*\})?(\s*\()?")
EXEMPLARS = f"{m.END_TO_END_SECONDS.full_name}_bucket"
_WORDS = {"by", "on", "and", "or", "unless", "bool", "without", "ignoring", "offset"}


@dataclass(frozen=True)
class Expression:
    """One expression of a panel.

    Attributes:
        location: dashboard, panel and reference, for messages.
    """

    location: str
    panel: str
    expr: str


@dataclass(frozen=True)
class Selector:
    name: str
    matchers: str


def boards() -> dict[str, dict[str, Any]]:
    """The committed dashboards."""
    return {name: json.loads((HERE / "dashboards" / f"{name}.json").read_text()) for name in BOARDS}


def panels(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All panels but the headings of rows."""
    panels: list[dict[str, Any]] = []
    for panel in board["panels"]:
        panels += [panel] if panel["type"] != "row" else panel["panels"]
    return panels


def expressions() -> Iterator[Expression]:
    for name, board in boards().items():
        for panel in panels(board):
            for target in panel["targets"]:
                yield Expression(f"{name}: {panel['title']} {target['refId']}", panel["title"], target["expr"])


def selectors(expr: str) -> list[Selector]:
    """The series that an expression asks for: names outside of braces, calls, label lists and strings."""
    bare = re.sub(r"\b(by|on|ignoring|without) \([^)]*\)|\[[^\]]*\]", "", expr)
    names = [(match[1], match[2] or "") for match in _NAME.finditer(bare) if not match[3]]
    return [Selector(name, matchers) for name, matchers in names if name not in _WORDS]


def series_names() -> set[str]:
    """Every series that the service exports, that a rule records, or that Prometheus adds."""
    names = {"up"} | {record.name for record in RECORDS}
    for metric in METRICS:
        parts = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        names |= {metric.full_name + part for part in parts}
    return names


def substituted(expr: str, window: str = "5m", span: str = "1h") -> str:
    """An expression as Grafana would send it with everything chosen."""
    for name, value in {
        "__rate_interval": window,
        "__range": span,
        "job": ".+",
        "instance": ".+",
        "source": ".+",
    }.items():
        expr = expr.replace(f"${name}", value)
    return expr


def promtool(*arguments: str | Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool; the test is skipped where there is none."""
    executable = shutil.which("promtool")
    if executable is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    return subprocess.run([executable, *map(str, arguments)], input=text, capture_output=True, text=True, check=False)
