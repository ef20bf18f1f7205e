"""The glossary: no name of the code holds a retired word. ``python -m tests.docs.test_glossary`` counts them."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.docs.defined_names import Definition, definitions, words

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "glossary.md"


class Retired(NamedTuple):
    """A word of the second table."""

    word: str
    instead: str
    in_sentences: str


class Allowed(NamedTuple):
    """A row of the table of exceptions."""

    word: str
    name: str
    where: str
    reason: str


def table(title: str) -> list[list[str]]:
    """The cells of the table under a heading of the glossary, without its head."""
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[_text(cell.strip()) for cell in row.strip("|").split("|")] for row in rows]


def _text(cell: str) -> str:
    return cell.strip("`") if cell.count("`") == 2 else cell


@cache
def retired() -> dict[str, Retired]:
    return {row[0]: Retired(*row) for row in table("Retired words")}


@cache
def allowed() -> list[Allowed]:
    return [Allowed(*row) for row in table("Exceptions")]


def files() -> list[Path]:
    """Python files of the repository; through the links of the package each of them only once."""
    listing = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listing.stdout.split() if (ROOT / name).is_file()]


def offences(defined: Iterable[Definition]) -> Iterator[tuple[Definition, Retired]]:
    """The definitions that hold a retired word, with that word."""
    for definition in defined:
        for word in sorted({word for word in words(definition.name) if word in retired()}):
            entry = retired()[word]
            if not (definition.sentence and entry.in_sentences == "yes") and not _is_allowed(definition, word):
                yield definition, entry


def _is_allowed(definition: Definition, word: str) -> bool:
    return any(
        word == item.word and fnmatch(definition.name, item.name) and fnmatch(definition.file, item.where)
        for item in allowed()
    )


def everywhere() -> list[tuple[Definition, Retired]]:
    return [offence for file in files() for offence in offences(definitions(ROOT, file))]


def test_no_name_holds_a_retired_word() -> None:
    sentences = [
        f"{definition.file}:{definition.line}: {definition.name}: {entry.word!r} is retired; use {entry.instead}"
        for definition, entry in everywhere()
    ]
    assert not sentences, "\n".join(sentences)


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("def tell(x): ...", {"tell"}),
        ("def f(told, *, gate=1, **waits): ...", {"told", "gate", "waits"}),
        ("class StormLimits: ...", {"StormLimits"}),
        ("class A:\n    held: int = 0", {"held"}),
        ("self.places = 1", {"places"}),
        ("for known in (): ...", {"known"}),
        ("with open('x') as found: ...", {"found"}),
        ("[1 for met in ()]", {"met"}),
        ("if (gone := 1): ...", {"gone"}),
        ("try: ...\nexcept E as told: ...", {"told"}),
        ("import stream_infer as lean", {"lean"}),
        ("match x:\n    case {'a': 1, **found}: ...", {"found"}),
        ("MOST_STEPS = 3", {"MOST_STEPS"}),
    ],
)
def test_a_definition_is_noticed(tmp_path: Path, code: str, names: set[str]) -> None:
    file = tmp_path / "code.py"
    file.write_text(code)
    assert {definition.name for definition, _ in offences(definitions(tmp_path, file))} == names


@pytest.mark.parametrize(
    "code",
    [
        "connect(known_hosts=1)",  # a library's parameter
        "other.found = 1",  # an attribute of a foreign object
        "print(node.step, told)",  # a use
        "from paramiko import known_hosts",
        "def recover(placeholder, standby, aggregate): ...",  # other words
        "x = {'found': 1}",
        "def test_a_lost_reply_is_told_again(): ...",  # a sentence
    ],
)
def test_a_name_of_others_is_left_alone(tmp_path: Path, code: str) -> None:
    file = tmp_path / "code.py"
    file.write_text(code)
    assert not list(offences(definitions(tmp_path, file)))


def test_a_sentence_may_hold_plain_english_and_no_retired_term(tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    file.write_text("def test_the_gate_is_told(): ...")
    assert [entry.word for _, entry in offences(definitions(tmp_path, file))] == ["gate"]


def test_a_file_name_counts(tmp_path: Path) -> None:
    file = tmp_path / "dividing" / "lean_ray.py"
    file.parent.mkdir()
    file.write_text("")
    assert {entry.word for _, entry in offences(definitions(tmp_path, file))} == {"dividing", "lean"}


def test_every_exception_is_needed() -> None:
    defined = [definition for file in files() for definition in definitions(ROOT, file)]
    idle = [
        item
        for item in allowed()
        if not any(
            item.word in words(each.name) and fnmatch(each.name, item.name) and fnmatch(each.file, item.where)
            for each in defined
        )
    ]
    assert not idle


def report() -> str:
    """Counts by folder, then every offence."""
    offending = everywhere()
    by_folder = Counter(str(Path(definition.file).parent) for definition, _ in offending)
    lines = [f"{count:5} {folder}" for folder, count in sorted(by_folder.items())]
    lines += [f"{d.file}:{d.line}: {d.name}: {e.word!r} is retired; use {e.instead}" for d, e in offending]
    return "\n".join([*lines, f"{len(offending):5} in all"])


if __name__ == "__main__":
    sys.stdout.write(report() + "\n")
