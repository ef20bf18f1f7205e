"""The reference of settings, from the JSON schema of pipeline files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from stream_infer.config import PipelineSettings

_HEAD: Final = """# Settings

Every setting of a pipeline file. A pipeline file is YAML; `${NAME}` in a value is taken from the environment. An unknown
setting is an error. `stream-infer validate FILE` checks a file, and `stream-infer schema` prints the JSON schema from which
this page is made (`make docs`).

A duration is a number of seconds or a text with a unit: `250ms`, `10s`, `5m`, `1h`, `2d`. A size is a number of bytes or a text
with a unit: `64KiB`, `256MiB`, `2GiB`, or `MB`, `GB` for powers of ten. `[]` in the name of a section stands for each item of a
list.
"""
_DURATIONS: Final = (("d", 86400.0), ("h", 3600.0), ("m", 60.0), ("s", 1.0), ("ms", 0.001))
_SIZES: Final = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10), ("B", 1))
_BOUNDS: Final = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
Schema = Mapping[str, Any]


def markdown() -> str:
    """The whole page."""
    schema = PipelineSettings.model_json_schema()
    sections = _sections(schema)
    parts = [_HEAD]
    for name, paths in sections.items():
        parts.append(_section(name, paths, schema if name == "" else schema["$defs"][name]))
    page = "\n".join(parts)
    for (
        name,
        paths,
    ) in sections.items():  # links name a definition so far; a reader's link shall survive a renamed class
        definition = schema["$defs"].get(name, {})
        anchor, kind = _anchor(paths[0], definition), _kind(definition)
        shown = f"`{{kind: {kind}}}`" if kind else "section"
        page = page.replace(f"[section](#{name})", f"[{shown}](#{anchor})")
        page = page.replace(f'"{name}"></a>', f'"{anchor}"></a>')
    return page


def _sections(schema: Schema) -> dict[str, list[str]]:
    """The objects of the schema in the order of the file, each with the paths at which it stands; "" is the file itself."""
    sections: dict[str, list[str]] = {}
    pending = [("", "")]
    while pending:
        name, path = pending.pop(0)
        paths = sections.setdefault(name, [])
        if path in paths:
            continue
        paths.append(path)
        properties = (schema if name == "" else schema["$defs"][name]).get("properties", {})
        for key, setting in properties.items():
            inner = f"{path}.{key}" if path else key
            pending += [(child, inner + suffix) for child, suffix in _children(setting)]
    return sections


def _children(setting: Schema, suffix: str = "") -> Iterator[tuple[str, str]]:
    """The sections that a setting may hold: each the name of its definition and ``[]`` for an item of a list."""
    if "$ref" in setting:
        yield _referred(setting), suffix
    for choice in (*setting.get("anyOf", ()), *setting.get("oneOf", ())):
        yield from _children(choice, suffix)
    if isinstance(setting.get("items"), Mapping):
        yield from _children(setting["items"], f"{suffix}[]")


def _section(name: str, paths: list[str], definition: Schema) -> str:
    kind = _kind(definition)
    shown = ", ".join(f"`{path}`" for path in paths) if name else "The pipeline file"
    title = f"{shown} with `kind: {kind}`" if kind else shown
    text = " ".join(definition.get("description", "").split()).replace("``", "`")
    rows = [
        _row(key, setting, key in definition.get("required", ())) for key, setting in definition["properties"].items()
    ]
    head = "| setting | type | unit | default | meaning |\n| --- | --- | --- | --- | --- |"
    anchor = f'<a id="{name}"></a>\n\n' if name else ""
    return f"{anchor}## {title}\n\n{text}\n\n{head}\n" + "\n".join(rows) + "\n"


def _row(key: str, setting: Schema, required: bool) -> str:
    unit = _unit(setting)
    default = "required" if required else _default(setting, unit)
    cells = (f"`{key}`", _type(setting, unit), unit, default, setting.get("description", ""))
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _unit(setting: Schema) -> str:
    """The unit of a number; "" where it has none."""
    choices = (setting, *setting.get("anyOf", ()))
    return next((str(choice["unit"]) for choice in choices if "unit" in choice), "")


def _type(setting: Schema, unit: str) -> str:
    choices = setting.get("anyOf") or setting.get("oneOf") or [setting]
    names = list(dict.fromkeys(name for choice in choices for name in _names(choice)))
    if unit in ("seconds", "bytes"):
        word = "duration" if unit == "seconds" else "size"
        names = [word, *(name for name in names if name not in ("number", "integer", "text"))]
    if len(names) > 3:
        return f"one of {', '.join(names)}"
    return " or ".join(names) + _bounds(setting)


def _names(choice: Schema) -> Iterator[str]:
    """What a value may be, in words."""
    if "$ref" in choice:
        yield f"[section](#{_referred(choice)})"
    elif "const" in choice:
        yield f"`{choice['const']}`"
    elif "enum" in choice:
        yield from (f"`{value}`" for value in choice["enum"])
    elif choice.get("anyOf") or choice.get("oneOf"):
        for inner in (*choice.get("anyOf", ()), *choice.get("oneOf", ())):
            yield from _names(inner)
    elif choice.get("type") == "array":
        yield f"list of {' or '.join(_names(choice.get('items', {})))}"
    elif choice.get("type") == "object":
        yield "mapping"
    else:
        words = {"string": "text", "boolean": "true or false", "null": "`null`"}
        kind = str(choice.get("type", "any value"))
        yield words.get(kind, kind)


def _bounds(setting: Schema) -> str:
    for choice in (setting, *setting.get("anyOf", ())):
        limits = [f"{sign} {choice[key]:g}" for key, sign in _BOUNDS if key in choice]
        if limits:
            return ", " + ", ".join(limits)
    return ""


def _default(setting: Schema, unit: str) -> str:
    value = setting.get("default")
    if value is None and not _is_optional(setting) and any(True for _ in _children(setting)):
        return "that section's"
    if value is None:
        empty = setting.get("type") in ("array", "object")
        return "`null`" if _is_optional(setting) else "none" if empty else ""
    if any(True for _ in _children(setting)) and isinstance(value, Mapping):
        return "that section's"
    if unit == "seconds":
        return f"`{_scaled(float(value), _DURATIONS)}`"
    if unit == "bytes":
        return f"`{_scaled(float(value), _SIZES)}`"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _is_optional(setting: Schema) -> bool:
    return any(choice.get("type") == "null" for choice in setting.get("anyOf", ()))


def _scaled(value: float, units: tuple[tuple[str, float], ...]) -> str:
    """The value in the largest unit of which it is a whole number."""
    if value == 0:
        return f"0{units[-1][0] if units is _SIZES else 's'}"
    name, factor = next((unit for unit in units if round(value / unit[1], 9).is_integer()), units[-1])
    return f"{value / factor:g}{name}"


def _referred(schema: Schema) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _kind(definition: Schema) -> str:
    """The one ``kind`` of a section; "" where it has none."""
    return str(definition.get("properties", {}).get("kind", {}).get("const", ""))


def _anchor(path: str, definition: Schema) -> str:
    """The name of a section in links: its first path and its kind, such as ``sources-kafka``."""
    kind = _kind(definition)
    words = [*path.replace("[]", "").split("."), *([kind] if kind else [])]
    return "-".join(words).replace("_", "-")
