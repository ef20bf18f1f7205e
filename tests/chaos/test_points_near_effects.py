"""Every effect that is visible outside has a crash point, and every crash point has a test."""

from __future__ import annotations

import ast
import builtins
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from tests.chaos.crash_points import PRODUCT, ROOT, in_the_code, in_the_plan

# Functions that change or read the outside world, by the module that they come from, however a file imports them.
FUNCTIONS = re.compile(
    r"(os\.(link|fsync|replace|unlink|mkdir|makedirs|rename|remove|scandir|stat|write|truncate|open)|builtins\.open"
    r"|shutil\.\w+|obstore\.[a-z]\w*)"
)
# The same of methods: by name alone, for what their object is called says nothing.
METHODS = {
    "the sink": ("write", "retire", "find"),
    "the ledger": ("plan", "commit", "bisect", "reject", "attempt", "replay", "publish"),
    "a database": ("begin",),
    "Kafka": ("poll", "consume", "produce", "flush"),
    "a path": ("write_bytes|write_text|unlink|touch|rmdir|mkdir",),
    "fsspec": ("ls", "cat_file", "pipe_file", "rm_file", "makedirs"),
    "S3": ("_call", "call_s3"),
    "SQS": ("receive_message", "delete_message_batch"),
}
_METHOD = re.compile("|".join(name for names in METHODS.values() for name in names))
EXCUSED = {
    "stream_infer/driver/row_count.py::count_apart": "reads the answer of a process of its own",
    "connectors/files/source.py::plan": "the queue passes a point in its poll",
    "connectors/files/source.py::wait": "the queue passes a point in its poll",
    "connectors/storage/s3.py::_call": "its callers stand a point on each side of it",
    "connectors/storage/fsspec_store.py::_write": "its callers stand a point on each side of it",
    "connectors/kafka/cluster.py::commit": "its caller stands a point on each side of it",
    "connectors/kafka/rejects.py::_produce": "its caller stands a point on each side of it",
    "connectors/kafka/ages.py::_look": "reads time stamps for a gauge; keeps nothing",
    "connectors/kafka/reader.py::_fetches": "its caller passes a point for each fetch",
    "connectors/kafka/watcher.py::_watch": "looks whether there is something new; consumes nothing that is kept",
    "connectors/kafka/watcher.py::timestamp": "reads a time stamp; keeps nothing",
    "connectors/parquet/sink.py::write": "find() is a GET of the store, which has its points",
    "stream_infer/ledger/store.py::_reading": "a transaction that only reads",
    "stream_infer/ledger/store.py::parse_url": "makes the ledger's folder, empty",
    "stream_infer/models/base.py::_file_digest": "reads weights that do not change, before any work is taken",
    "stream_infer/models/cuda_streams.py::begin": "starts a forward pass",
    "stream_infer/models/transformers_text.py::infer": "starts a forward pass",
    "stream_infer/worker/stages.py::run": "the actor stands a point on each side of every stage",
}
OUTSIDE = ("ops/", "stream_infer/crash.py", "stream_infer/testing/")  # what looks on; the points; doubles for tests
FEWEST = 60  # effects; fewer seen means that this test no longer sees them


@dataclass(frozen=True)
class Function:
    """A function of the product.

    Attributes:
        effects: the calls in it that have one.
        has_point: it passes a crash point.
    """

    name: str
    effects: tuple[str, ...]
    has_point: bool


def functions(file: str, source: str) -> Iterator[Function]:
    """Every function of a file, with the effects that its calls have."""
    tree = ast.parse(source)
    imported = _imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            calls = [_resolved(inner.func, imported) for inner in ast.walk(node) if isinstance(inner, ast.Call)]
            points = [call for call in calls if call.startswith("stream_infer.crash.")]
            effects = tuple(call for call in calls if call not in points and _is_effect(call))
            yield Function(f"{file}::{node.name}", effects, bool(points))


def _is_effect(call: str) -> bool:
    method = call.rpartition(".")[2] if call.startswith("?.") else ""
    return bool(FUNCTIONS.fullmatch(call) or _METHOD.fullmatch(method))


def _imported(tree: ast.AST) -> Mapping[str, str]:
    """The imported module, or member of a module, by its name in the file."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update({item.asname or item.name.partition(".")[0]: item.name for item in node.names})
        elif isinstance(node, ast.ImportFrom):
            names.update({item.asname or item.name: f"{node.module}.{item.name}" for item in node.names})
    return names


def _resolved(called: ast.expr, imported: Mapping[str, str]) -> str:
    """The name of a called function: ``MODULE.NAME`` for the member of a module, ``?.NAME`` for a method."""
    path = []
    while isinstance(called, ast.Attribute):
        path.append(called.attr)
        called = called.value
    if isinstance(called, ast.Name) and called.id in imported:
        return ".".join([imported[called.id], *reversed(path)])
    if isinstance(called, ast.Name) and not path and hasattr(builtins, called.id):
        return f"builtins.{called.id}"
    return f"?.{path[0]}" if path else "?"


@pytest.fixture(scope="module")
def product() -> list[Function]:
    """The functions that have an effect."""
    files = sorted(path for folder in PRODUCT for path in (ROOT / folder).rglob("*.py"))
    named = {str(file.relative_to(ROOT)): file.read_text() for file in files}
    every = [each for name, text in named.items() if not name.startswith(OUTSIDE) for each in functions(name, text)]
    return [each for each in every if each.effects]


def test_every_point_of_the_code_is_passed_by_a_test_and_every_planned_point_exists() -> None:
    patterns, planned = in_the_code(), in_the_plan()
    unplanned = {pattern for pattern in patterns if not any(re.fullmatch(pattern, point) for point in planned)}
    missing = {point for point in planned if not any(re.fullmatch(pattern, point) for pattern in patterns)}
    assert (unplanned, missing) == (set(), set())
    assert len(planned) >= 40


def test_every_function_with_an_effect_has_a_point(product: list[Function]) -> None:
    bare = {each.name: each.effects for each in product if not each.has_point and each.name not in EXCUSED}
    assert bare == {}


def test_every_excuse_is_of_a_function_that_needs_one(product: list[Function]) -> None:
    assert EXCUSED.keys() - {each.name for each in product if not each.has_point} == set()


def test_the_effects_are_seen(product: list[Function]) -> None:
    seen = Counter(call for each in product for call in each.effects)
    assert seen.total() >= FEWEST
    methods = {call.rpartition(".")[2] for call in seen}
    for owner, names in METHODS.items():
        unseen = [name for name in names if not any(re.fullmatch(name, method) for method in methods)]
        assert unseen == [], f"no call to {unseen} of {owner}: renamed? then name it here as it is now"
    for module in ("os.", "obstore.", "builtins."):
        assert any(call.startswith(module) for call in seen), module


@pytest.mark.parametrize(
    "source",
    [
        "import os\ndef f(): os.link(a, b)",
        "import os as o\ndef f(): o.link(a, b)",
        "from os import link as make\ndef f(): make(a, b)",
        "def f(self): open(path, 'w')",
        "def f(self): self.whatever().it.is_called.retire(split)",
        "def f(self): answer[0].call_s3('put_object', Bucket='b')",
    ],
)
def test_an_effect_is_seen_whatever_its_object_is_called(source: str) -> None:
    (function,) = functions("file.py", source)
    assert len(function.effects) == 1
    assert not function.has_point
    head, _, body = source.partition("def f")
    (guarded,) = functions("file.py", f"{head}from stream_infer import crash\ndef f{body}; crash.point('p')")
    assert guarded.has_point


def test_a_method_of_a_plain_value_is_no_effect() -> None:
    (function,) = functions("file.py", "def f(text): return text.replace('a', 'b').encode()")
    assert function.effects == ()
