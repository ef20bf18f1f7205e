"""The reference of the Python interface, from the public names with their signatures and docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from types import FunctionType, ModuleType
from typing import Any, Final

_HEAD: Final = """# Python interface

What may be imported and will stay. A module that is not on this page is not public: it changes without notice. Names with a leading
underscore are private everywhere. This page is made from the docstrings by `make docs`.
"""
# What an extension needs: the seams, the values that cross them, the suites for those who implement one.
MODULES: Final = (
    "stream_infer",
    "stream_infer.contracts",
    "stream_infer.catalogs",
    "stream_infer.plugins",
    "stream_infer.bounds",
    "stream_infer.splits",
    "stream_infer.records",
    "stream_infer.rejects",
    "stream_infer.decode.base",
    "stream_infer.decode.format",
    "stream_infer.errors",
    "stream_infer.testing",
)
_SECTION: Final = re.compile(r"^(Args|Attributes|Raises|Returns|Yields):\s*$")


def markdown() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(_module(import_module(name)) for name in MODULES if find_spec(name))])


def public_names(module: ModuleType) -> list[str]:
    """The names in ``__all__``; without it the classes and functions that the module defines."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__ and callable(value)
    ]


def _module(module: ModuleType) -> str:
    lines = [f"## {module.__name__}", "", *_text(module.__doc__ or ""), ""]
    for name in public_names(module):
        value = getattr(module, name)
        if inspect.isclass(value):
            lines += _class(name, value)
        elif isinstance(value, FunctionType):
            lines += [f"### {name}", "", *_signature(name, value), "", *_text(inspect.getdoc(value) or ""), ""]
        elif not name.startswith("__") and not inspect.ismodule(value):
            lines += [f"### {name}", "", f"A constant or type: `{_shown(value)}`", ""]
    return "\n".join(lines)


def _class(name: str, kind: type) -> Iterator[str]:
    yield from (f"### {name}", "")
    if _has_own_signature(kind):
        yield from (*_signature(name, kind), "")
    own = kind.__dict__.get("__doc__") or ""
    yield from (*_text("" if own.startswith(f"{kind.__name__}(") else inspect.cleandoc(own)), "")
    for attribute, value in vars(kind).items():
        if attribute.startswith("_"):
            continue
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if isinstance(function, FunctionType):
            yield from (*_signature(f"{name}.{attribute}", function), "", *_text(inspect.getdoc(function) or ""), "")
        elif isinstance(value, property):
            yield from (f"`{name}.{attribute}` (property)", "", *_text(inspect.getdoc(value) or ""), "")


def _has_own_signature(kind: type) -> bool:
    """Whether a caller makes one. A protocol is implemented, an exception caught, an enumeration named."""
    return not (getattr(kind, "_is_protocol", False) or issubclass(kind, BaseException) or hasattr(kind, "__members__"))


def _signature(name: str, value: Any) -> list[str]:
    signature = inspect.signature(value)
    parameters = [
        each.replace(annotation=_Annotation(each.annotation) if each.annotation is not each.empty else each.empty)
        for each in signature.parameters.values()
        if each.name not in ("self", "cls")
    ]
    returned = signature.return_annotation
    result = _Annotation(returned) if returned not in (signature.empty, None, "None") else signature.empty
    return ["```python", f"{name}{signature.replace(parameters=parameters, return_annotation=result)}", "```"]


class _Annotation(str):
    """An annotation as it is written in the source; `inspect` would quote it."""

    def __repr__(self) -> str:
        return str(self)


def _text(doc: str) -> list[str]:
    """A docstring as Markdown: its sections ``Args``, ``Raises`` and so on become lists."""
    lines, in_section, in_tree = [], False, False
    for line in inspect.cleandoc(doc).replace("``", "`").splitlines():
        if in_tree != (tree := bool(re.search("[├└]──", line))):
            lines.append("```")
            in_tree = tree
        if _SECTION.match(line):
            in_section = True
            lines += [f"*{line.strip()}*", ""]
        elif in_section and re.match(r"^    \S", line):
            lines.append(f"- {line.strip()}")
        elif in_section and line.strip():
            lines.append(f"  {line.strip()}")
        else:
            lines.append(line)
    return lines


def _shown(value: Any) -> str:
    return str(value).replace("typing.", "")[:120]
