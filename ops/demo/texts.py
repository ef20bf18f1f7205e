"""Real texts of every installation: the docstrings of its packages."""

from __future__ import annotations

import ast
import inspect
import sysconfig
from collections.abc import Iterator
from pathlib import Path

_SKIPPED = ("tests", "test", "_vendor", "testing")


def docstrings() -> Iterator[tuple[str, str]]:
    """(``package.module.name``, docstring) of the installed packages and the standard library, in a fixed order."""
    for folder in ("purelib", "stdlib"):
        root = Path(sysconfig.get_paths()[folder])
        for path in sorted(root.glob("*/*.py")):
            if path.parent.name not in ("site-packages", *_SKIPPED):
                yield from _docstrings_of(path, ".".join(path.relative_to(root).with_suffix("").parts))


def _docstrings_of(path: Path, module: str) -> Iterator[tuple[str, str]]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, OSError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
            yield f"{module}.{node.name}", inspect.cleandoc(text)


def sample_texts(files: int, messages: int) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The given numbers of long texts (200 to 2,000 characters) and of short ones (20 to 160); no text twice."""
    long: dict[str, str] = {}
    short: dict[str, str] = {}
    for name, text in docstrings():
        first = " ".join(text.split("\n\n", 1)[0].split())
        if len(long) < files and 200 <= len(text) <= 2000:
            long.setdefault(text, name)
        elif len(short) < messages and 20 <= len(first) <= 160:
            short.setdefault(first, name)
        if len(long) == files and len(short) == messages:
            break
    return [(name, text) for text, name in long.items()], [(name, text) for text, name in short.items()]
