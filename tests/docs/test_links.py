"""Links between the pages lead somewhere, every page is in the index, and the changelog is in its form."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from docs import cli_page

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*(ROOT / "docs").glob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]
)
_LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")


def anchors(page: Path) -> set[str]:
    """What a link into the page may name after ``#``, as GitHub makes it of headings."""
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([^"]+)">', text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target, anchor in _LINK.findall(page.read_text(encoding="utf-8")):
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(f"{target}#{anchor}")
    assert not broken


def test_every_page_is_in_the_index() -> None:
    linked = {target for target, _ in _LINK.findall((ROOT / "docs" / "index.md").read_text(encoding="utf-8"))}
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"} <= linked


def test_every_make_target_is_in_a_page() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert not {target for target in targets - {"help"} if not re.search(rf"make {target}(?![\w-])", text)}


def test_every_command_has_a_use_in_a_page_for_people() -> None:
    """The generated reference does not count: a page or the README shows the command at work."""
    pages = [page for page in PAGES if page.name not in ("cli.md", "CHANGELOG.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    names = map(cli_page.name_of, cli_page.commands())
    assert not [name for name in names if not re.search(rf"stream-infer {name}\b", text)]


def test_the_changelog_has_its_form_and_names_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert versions[0] == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", version) for version in versions[1:])
    assert versions[1].startswith(f"{project['version']} - ")
    sections = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert sections <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listing = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in listing.stdout.split() if not name.startswith("tests/")]
    literal = re.compile(rf"__version__ = |['\"]{re.escape(project['version'])}['\"]")
    assert not [file for file in files if file.is_file() and literal.search(file.read_text(encoding="utf-8"))]
