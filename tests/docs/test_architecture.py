"""docs/architecture.md names functions that exist, and every thread and spawned process of the product."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([\w/]+\.py):([\w.]+)`", PAGE)))
FILES = sorted(set(re.findall(r"`([\w/]+\.py)[:`]", PAGE)))
FOLDERS = sorted(set(re.findall(r"`([\w/]+/)`", PAGE)))
PRODUCT = ("stream_infer", "connectors", "ops")
# For the demo and for tests; no running service has threads of theirs.
NOT_THE_SERVICE = ("ops/demo/", "ops/parts/", "stream_infer/testing/")
MAKERS = {"Thread": "name", "ThreadPoolExecutor": "thread_name_prefix", "Process": "name"}


@cache
def defined(file: str) -> frozenset[str]:
    """Classes and functions of a file, methods as ``Class.method``."""
    names: set[str] = set()

    def visit(nodes: list[ast.stmt], owner: str) -> None:
        for node in nodes:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(owner + node.name)
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{owner}{node.name}.")

    visit(ast.parse((ROOT / file).read_text(encoding="utf-8")).body, "")
    return frozenset(names)


def product_files() -> Iterator[Path]:
    for folder in PRODUCT:
        yield from (file for file in (ROOT / folder).rglob("*.py"))


def threads(file: Path) -> Iterator[tuple[str, int, str | None]]:
    """Kind, line and name of each thread, pool and process that the file makes; None for one without a name."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    of_threads = {
        id(call)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and "Thread" in {last_word(base) for base in node.bases}
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__"
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            kind = "Thread" if id(node) in of_threads else last_word(node.func)
            if kind in MAKERS and not ast.unparse(node.func).startswith("psutil."):
                names = [word.value for word in node.keywords if word.arg == MAKERS[kind]]
                yield kind, node.lineno, fixed_part(names[0]) if names else None


def last_word(node: ast.expr) -> str:
    return ast.unparse(node).rpartition(".")[2]


def fixed_part(node: ast.expr) -> str | None:
    """The text of a name, up to its first variable part."""
    if isinstance(node, ast.JoinedStr):
        node = node.values[0]
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


@pytest.mark.parametrize(("file", "name"), NAMED, ids=lambda part: str(part))
def test_a_function_exists(file: str, name: str) -> None:
    assert (ROOT / file).is_file(), file
    assert name in defined(file), f"{file} has no {name}"


@pytest.mark.parametrize("name", [*FILES, *FOLDERS])
def test_a_file_or_folder_exists(name: str) -> None:
    assert (ROOT / name).exists() or (ROOT / "stream_infer" / name).exists()


def test_the_walks_name_a_function_at_each_hop() -> None:
    hops = [line for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]
    assert {int(line.split("|")[1]) for line in hops} == set(range(1, 13))
    assert not [line for line in hops if not re.search(r"`[\w/]+\.py:[\w.]+`", line)]


def test_every_thread_and_process_is_on_the_page() -> None:
    made = [
        (str(file.relative_to(ROOT)), line, kind, name)
        for file in product_files()
        if not str(file.relative_to(ROOT)).startswith(NOT_THE_SERVICE)
        for kind, line, name in threads(file)
    ]
    assert len(made) >= 15  # or the search above is blind
    nameless = [item for item in made if item[3] is None]
    assert not nameless, f"give them a name: {nameless}"
    missing = [item for item in made if not re.search(rf"`{re.escape(str(item[3]))}(`|[A-Z]+`)", PAGE)]
    assert not missing, f"not in docs/architecture.md: {missing}"


def test_no_thread_on_the_page_is_of_the_past() -> None:
    """A row of the table of threads names a thread that the code still makes."""
    section = PAGE.partition("## Threads of the driver")[2].partition("\n## ")[0]
    named = [
        re.search(r"`([a-z-]+)[A-Z]*`", line) for line in section.splitlines() if line.startswith(("| `", "| pool"))
    ]
    made = {str(name) for file in product_files() for _, _, name in threads(file)}
    assert len(named) > 10
    assert {match[1] for match in named if match} <= made


def test_the_packages_are_in_the_table_of_rooms() -> None:
    section = PAGE.partition("## Rooms")[2]
    packages = {
        f"stream_infer/{each.name}" for each in (ROOT / "stream_infer").iterdir() if (each / "__init__.py").exists()
    }
    packages -= {"stream_infer/connectors", "stream_infer/ops"}
    assert not [package for package in packages if f"`{package}/`" not in section]


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("threading.Thread(target=f, name='a')", "a"),
        ("Thread(target=f, name=f'b-{n}')", "b-"),
        ("ThreadPoolExecutor(3, thread_name_prefix='c')", "c"),
        ("context.Process(target=f, name='d')", "d"),
        ("class A(threading.Thread):\n    def __init__(self): super().__init__(name=f'e-{self}')", "e-"),
        ("ThreadPoolExecutor(3)", None),
    ],
)
def test_a_thread_is_noticed(tmp_path: Path, code: str, name: str | None) -> None:
    file = tmp_path / "code.py"
    file.write_text(code)
    assert [made for _, _, made in threads(file)] == [name]
