"""The names that a Python file defines, with their lines. Names of other libraries are not among them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_OWNERS = ("self", "cls")


class Definition(NamedTuple):
    """One name where it is defined.

    Attributes:
        file: path relative to the repository.
        sentence: True for a test's name, which is a sentence.
    """

    file: str
    line: int
    name: str
    sentence: bool = False


def definitions(root: Path, file: Path) -> Iterator[Definition]:
    """Every name that the file defines: its path, classes, functions, parameters, variables and own attributes.

    A keyword argument of a call, an attribute of another object and the name in an import belong to somebody else.
    """
    path = str(file.relative_to(root))
    for part in Path(path).with_suffix("").parts:
        yield Definition(path, 1, part, sentence=part.startswith("test_"))
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        for name, line in _defined(node):
            yield Definition(path, line, name, sentence=name.startswith("test_"))


def words(name: str) -> list[str]:
    """The words of a name in snake_case or CamelCase, in lower case."""
    return [word.lower() for word in _WORD.findall(name)]


def _defined(node: ast.AST) -> Iterator[tuple[str, int]]:
    match node:
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            yield node.name, node.lineno
        case ast.arg():
            yield node.arg, node.lineno
        case ast.Name(ctx=ast.Store()):  # assignments, loops, `with … as`, comprehensions, `:=`
            yield node.id, node.lineno
        case ast.Attribute(ctx=ast.Store(), value=ast.Name(id=owner)) if owner in _OWNERS:
            yield node.attr, node.lineno
        case ast.ExceptHandler(name=str(name)):
            yield name, node.lineno
        case ast.alias(asname=str(name)):
            yield name, node.lineno
        case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
            yield name, node.lineno
        case _:
            return
