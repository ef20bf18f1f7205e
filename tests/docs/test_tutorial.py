"""The tutorial is run as it is written: each file block is written, each console block is typed into one shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
_BLOCK = re.compile(r"(?:^`([\w./-]+)`:\n\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Command(NamedTuple):
    """A command of the page with the output that the page shows."""

    line: str
    output: list[str]


class File(NamedTuple):
    """A file of the page."""

    name: str
    content: str


def parts(text: str) -> list[Command | File]:
    """Files and commands of a page, in order. In a console block a line that starts with ``$`` is a command."""
    items: list[Command | File] = []
    for name, language, content in _BLOCK.findall(text):
        if name:
            items.append(File(name, content))
        elif language == "console":
            for line in content.splitlines():
                if line.startswith("$ "):
                    items.append(Command(line[2:], []))
                else:
                    command = items[-1]
                    assert isinstance(command, Command)
                    command.output.append(line)
    return items


def script(items: list[Command | File]) -> str:
    """A shell script of them, which marks where the output of each command begins."""
    lines = ["set -e", "exec 2>&1"]
    for number, item in enumerate(items):
        if isinstance(item, File):
            lines.append(f"cat > {item.name} <<'END-OF-FILE'\n{item.content}END-OF-FILE")
        else:
            lines += [f"echo '@@ {number}'", item.line]
    return "\n".join(lines) + "\n"


def missing_lines(shown: list[str], printed: list[str]) -> list[str]:
    """Lines of the page that the command did not print; ``…`` stands for any text."""
    patterns = {line: line.replace("[", "[[]").replace("…", "*") for line in shown}
    return [
        line for line, pattern in patterns.items() if not any(fnmatchcase(text.rstrip(), pattern) for text in printed)
    ]


def test_a_line_that_a_command_does_not_print_is_noticed() -> None:
    assert missing_lines(["a 2", "b…", "[c]"], ["a 3", "bcd", "[c]"]) == ["a 2"]


def test_the_page_has_what_this_test_looks_for() -> None:
    items = parts(PAGE.read_text(encoding="utf-8"))
    commands = [item.line for item in items if isinstance(item, Command)]
    assert {"pipeline.yaml", "shouting.py"} <= {item.name for item in items if isinstance(item, File)}
    assert any("run pipeline.yaml" in line for line in commands)
    # nothing that looks like a command or a file may stand outside of what is run, but for the installation
    others = [language for name, language, _ in _BLOCK.findall(PAGE.read_text(encoding="utf-8")) if not name]
    assert set(others) == {"sh", "console"}
    assert others.count("sh") == 1


@pytest.mark.slow
def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    items = parts(PAGE.read_text(encoding="utf-8"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PWD": str(tmp_path), "COLUMNS": "200", "NO_COLOR": "1"}
    environment.pop("RAY_ADDRESS", None)
    ended = subprocess.run(
        ["bash", "-c", script(items)], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True, timeout=280
    )
    outputs = {
        int(number): text.splitlines() for number, text in re.findall(r"@@ (\d+)\n(.*?)(?=@@ |\Z)", ended.stdout, re.S)
    }
    assert ended.returncode == 0, ended.stdout[-2000:]
    for number, item in enumerate(items):
        if isinstance(item, Command):
            missing = missing_lines(item.output, outputs[number])
            assert not missing, f"$ {item.line}\nthe page shows {missing}, the command: {outputs[number]}"
