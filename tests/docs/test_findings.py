"""Every finding has its form, is in the index of findings and in the page on compatibility. The scripts are not run: they install."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "findings").glob("*.sh"))


def test_the_index_lists_the_scripts() -> None:
    linked = set(re.findall(r"\]\(([^)]+\.sh)\)", (ROOT / "findings" / "README.md").read_text(encoding="utf-8")))
    assert linked == {script.name for script in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_says_what_it_shows_and_where_our_code_allows_for_it(script: Path) -> None:
    head = script.read_text(encoding="utf-8").split("\nset -euo pipefail\n")[0]
    assert re.findall(r"^# (\w+):", head, re.MULTILINE)[1:] == ["Version", "Expected", "Seen", "Here", "Exit"]
    assert os.access(script, os.X_OK)
    assert f"findings/{script.name}" in (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "page", ["findings/README.md", "docs/compatibility.md", *(f"findings/{s.name}" for s in SCRIPTS)]
)
def test_the_files_of_ours_that_it_names_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(
        r"\b(?:(?:stream_infer|connectors|tests|findings)/[\w/.-]*\w\.(?:py|sh)|pyproject\.toml)\b", text
    )
    assert named
    assert not [name for name in named if not (ROOT / name).is_file()]
