"""The table, as Markdown, and the files it is kept in."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from benchmarks.chart import bar_chart
from benchmarks.results import Result

HERE = Path(__file__).parent
_PACKAGES = ("ray", "confluent-kafka", "pyarrow", "obstore", "torch", "transformers", "sqlalchemy")


def table(results: Sequence[Result]) -> str:
    """One line a check; a missed target says so, and what holds it back."""
    lines = ["| row | work | measured | target | | held back by |", "| --- | --- | --- | --- | --- | --- |"]
    words = {True: "met", False: "**missed**", None: ""}
    for result in results:
        for check in result.checks:
            cells = (result.name, check.work, check.measured, check.target, words[check.met], check.held_back_by)
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(results: Sequence[Result], quick: bool) -> None:
    """A quick run leaves one JSON file; a full one the report and a chart per row."""
    document = json.dumps([asdict(result) for result in results], indent=1)
    (HERE / ("quick.json" if quick else "results.json")).write_text(document + "\n")
    if quick:
        return
    (HERE / "charts").mkdir(exist_ok=True)
    parts = ["# Results", "", _about(), "", table(results), ""]
    for result in results:
        parts += [f"## {result.title}", ""]
        if result.bars:
            (HERE / "charts" / f"{result.name}.svg").write_text(bar_chart(result))
            parts += [f"![{result.title}](charts/{result.name}.svg)", ""]
        parts += [f"- {note}" for note in result.notes] + ([""] if result.notes else [])
    (HERE / "RESULTS.md").write_text("\n".join(parts).rstrip() + "\n")


def load(path: Path | None = None) -> list[Result]:
    """The rows of the last full run, so that one row can be measured anew; or those of another file."""
    from benchmarks.results import Check

    path = path or HERE / "results.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    return [Result(**{**row, "checks": [Check(**check) for check in row["checks"]]}) for row in rows]


def _about() -> str:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
    return (
        f"`make bench` at commit {commit.stdout.strip() or 'unknown'}, {datetime.now(UTC):%Y-%m-%d}, "
        f"{os.cpu_count()} CPUs, Python {platform.python_version()}, {versions}. Machines are shared and noisy: "
        "read the ratios, each taken beside its yardstick in one run."
    )
