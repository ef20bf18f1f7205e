"""The reference of the command line, from the commands themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

import typer
from typer.models import CommandInfo

from stream_infer.ops.cli import app

_HEAD: Final = """# Command line

`stream-infer COMMAND --help` says the same in a terminal. Exit codes: 0 done; 1 something is wrong with the data or the run;
2 a setting or an argument is wrong, and one sentence says which. A command with `--json` prints one JSON document.

This page is made from `ops/cli.py` by `make docs`.
"""


def markdown() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *map(_section, commands())])


def commands() -> list[CommandInfo]:
    """The commands in the order of the help."""
    return list(app.registered_commands)


def name_of(command: CommandInfo) -> str:
    """What a user writes after ``stream-infer``."""
    return command.name or getattr(command.callback, "__name__", "").replace("_", "-")


def options_of(command: CommandInfo) -> list[str]:
    """The options that a user may write, such as ``--json``."""
    return [name for name, kind, _, _ in _parameters(command) if kind != "argument"]


def _section(command: CommandInfo) -> str:
    parameters = list(_parameters(command))
    usage = [name for name, kind, _, _ in parameters if kind == "argument"]
    options = [
        f"[{name}]" if kind == "flag" else f"[{name} VALUE]" for name, kind, _, _ in parameters if kind != "argument"
    ]
    text = inspect.getdoc(command.callback) or ""
    lines = [
        f"## {name_of(command)}",
        "",
        f"    stream-infer {' '.join([name_of(command), *usage, *options])}",
        "",
        text,
        "",
    ]
    if parameters:
        lines += ["| argument or option | default | meaning |", "| --- | --- | --- |"]
        lines += [f"| `{name}` | {default} | {text} |" for name, _, default, text in parameters]
        lines.append("")
    return "\n".join(lines)


def _parameters(command: CommandInfo) -> Iterator[tuple[str, str, str, str]]:
    """Name, kind (argument, option or flag), default and meaning of each parameter, as typer shows them."""
    assert command.callback is not None
    for name, parameter in inspect.signature(command.callback, eval_str=True).parameters.items():
        info = parameter.annotation.__metadata__[0]
        annotation: Any = parameter.annotation.__origin__
        text = _with_choices(info.help or "", annotation)
        default = "required" if parameter.default is inspect.Parameter.empty else _shown(parameter.default)
        if isinstance(info, typer.models.OptionInfo):
            # inside `Annotated` typer keeps the first declared name as the option's default
            names = [str(item) for item in (info.default, *(info.param_decls or ())) if str(item).startswith("--")]
            yield (
                (names or [f"--{name.replace('_', '-')}"])[0],
                "flag" if annotation is bool else "option",
                default,
                text,
            )
        else:
            yield info.metavar or name.upper(), "argument", default, text


def _with_choices(text: str, annotation: Any) -> str:
    kinds = [annotation, *getattr(annotation, "__args__", ())]
    choices = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Enum)), None)
    return text if choices is None else f"{text}: {', '.join(f'`{choice.value}`' for choice in choices)}"


def _shown(value: Any) -> str:
    return "" if value is None or value is False else f"`{value}`"
