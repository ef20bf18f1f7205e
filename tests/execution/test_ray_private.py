"""Ray's private parts: one list, checked against the installed Ray, and used by one file."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
import ray

from stream_infer.execution import ray_private
from stream_infer.execution.ray_private import PRIVATE_NAMES, with_globals

ROOT = Path(__file__).parents[2]
_PRIVATE = re.compile(
    r"ray\._private|ray\.data\._internal|ray\.core|ray\._raylet|ray\._common|from ray import _|from ray\.data import _"
)


def test_the_installed_ray_is_the_checked_version() -> None:
    assert ray.__version__ == ray_private.CHECKED_VERSION


@pytest.mark.parametrize("name", PRIVATE_NAMES)
def test_each_name_of_the_list_is_in_the_installed_ray(name: str) -> None:
    private = PRIVATE_NAMES[name]
    target = getattr(ray_private, name)
    owner = target if inspect.isclass(target) else type(target)
    sources = "".join(inspect.getsource(base) for base in _own_bases(owner)) if private.members else ""
    for member in private.members:
        assert hasattr(target, member) or f"self.{member}" in sources, member
    if private.variables:
        assert isinstance(target, FunctionType)
    for variable in private.variables:
        assert variable in target.__globals__
        assert variable in target.__code__.co_names, "the function no longer uses this global"


def _own_bases(owner: type) -> Iterator[type]:
    return (base for base in owner.__mro__ if base.__module__.startswith("ray."))


def test_the_copy_of_the_wait_may_replace_the_module_ray() -> None:
    tree = ast.parse(inspect.getsource(ray_private.process_completed_tasks))
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "ray"]
    wait_calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.value in names and node.attr == "wait"
    ]
    assert len(names) == len(wait_calls) == 1


def test_only_one_file_touches_private_parts() -> None:
    folders = ("stream_infer", "connectors", "ops")
    users = {
        path.name for folder in folders for path in (ROOT / folder).rglob("*.py") if _PRIVATE.search(path.read_text())
    }
    assert users == {"ray_private.py"}


def test_every_name_of_the_list_is_used() -> None:
    texts = [path.read_text() for path in (ROOT / "stream_infer" / "execution").glob("*.py")]
    product = "\n".join(text for text in texts if "PRIVATE_NAMES: Final" not in text)
    for name, private in PRIVATE_NAMES.items():
        used_by_members = private.members and all(member in product for member in private.members)
        assert re.search(rf"\b{name}\b", product) or used_by_members, name
        for word in (*private.members, *private.variables):
            assert re.search(rf"\b{word}\b", product), f"{name}: {word}"


def test_a_name_beside_the_list_is_refused() -> None:
    with pytest.raises(AttributeError, match="Plasma"):
        ray_private.Plasma  # noqa: B018


_pause = 1.0


def _answer(factor: float = 2.0, *, offset: float = 0.0) -> float:
    return _pause * factor + offset


def test_a_copy_with_other_globals_leaves_the_function_as_it_was() -> None:
    copy = with_globals(_answer, _pause=10.0)
    assert (copy(), copy(3.0, offset=1.0), _answer()) == (20.0, 31.0, 2.0)


def test_a_copied_method_still_finds_its_base_class() -> None:
    class Base:
        def text(self) -> str:
            return "base"

    class Derived(Base):
        def text(self) -> str:
            return f"{super().text()} {_pause}"

    copied: Any = with_globals(Derived.text, _pause="copied")
    assert copied(Derived()) == "base copied"
