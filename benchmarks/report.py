"""The report: the table as Markdown, and the files with the results."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from benchmarks.chart import bar_chart
from benchmarks.results import Result

HERE = Path(__file__).parent
_PACKAGES = ("ray", "confluent-kafka", "pyarrow", "obstore", "torch", "transformers", "sqlalchemy")


def table(results: Sequence[Result]) -> str:
    """One line for each check; a missed target shows its limit."""
    lines = ["| row | work | measured | target | | limited by |", "| --- | --- | --- | --- | --- | --- |"]
    outcomes = {True: "met", False: "**missed**", None: ""}
    for result in results:
        for check in result.checks:
            cells = (result.name, check.work, check.measured, check.target, outcomes[check.passed], check.limited_by)
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
        parts += [f"- {note}" for note in filter(None, [*result.notes, result.measured])] + [""]
    (HERE / "RESULTS.md").write_text("\n".join(parts).rstrip() + "\n")


def load(path: Path | None = None) -> list[Result]:
    """The rows of the last full run, so that one row can be measured anew; or those of another file."""
    from benchmarks.results import Check

    path = path or HERE / "results.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    return [Result(**{**row, "checks": [Check(**check) for check in row["checks"]]}) for row in rows]


def describe_machine() -> str:
    """Commit, date and speed of this machine now, to compare a row with another one."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    return (
        f"at commit {commit.stdout.strip() or 'unknown'}, {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} CPUs; just before, two "
        f"processes did {_side_by_side():.2f} times the work of one"
    )


def _side_by_side() -> float:
    """Speed of two busy processes relative to one: 2 on two idle cores, little over 1 on two threads of one core."""
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(_busy, range(2)))
        alone = pool.submit(_busy, 0).result()
        return 2 * alone / max(pool.map(_busy, range(2)))


def _busy(value: int) -> float:
    started = time.perf_counter()
    for number in range(3_000_000):
        value = (31 * value + number) & 0xFFFFFFFF
    return time.perf_counter() - started


def _about() -> str:
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
    return (
        f"Python {platform.python_version()}, {versions}. Machines are shared and noisy: read the ratios, each taken beside its "
        "yardstick in one run. Each row says when it was measured."
    )
