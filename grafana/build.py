"""Generator of the committed files: `python -m grafana.build`, or `make dashboards`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from grafana import errors, overview, pipeline, sources
from grafana.panels import Board
from grafana.rules import RUNBOOK, rendered

HERE: Final = Path(__file__).parent
BOARDS: Final[Mapping[str, Board]] = {
    "overview": overview.BOARD,
    "pipeline": pipeline.BOARD,
    "sources": sources.BOARD,
    "errors": errors.BOARD,
}


def files(runbook: str = RUNBOOK) -> dict[Path, str]:
    """Every generated file and its text; alerts link to a runbook at this address."""
    dashboards = {HERE / "dashboards" / f"{name}.json": board.render() for name, board in BOARDS.items()}
    return {**dashboards, HERE / "alerts" / "stream-infer.rules.yaml": rendered(runbook)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the dashboards and the rules file.")
    parser.add_argument("--runbook", default=RUNBOOK, help="address of docs/runbook.md, which alerts link to")
    for path, text in files(parser.parse_args().runbook).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
