"""The generated pages are fresh, and name every setting, command, option and public name."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

from docs import api_page, build, cli_page, settings_page
from stream_infer.config import PipelineSettings
from stream_infer.telemetry.metrics import METRICS

SCHEMA = PipelineSettings.model_json_schema()


def settings() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every setting of every section, as ``SECTION.NAME`` and its schema."""
    for section, definition in [("PipelineSettings", SCHEMA), *SCHEMA["$defs"].items()]:
        for name, setting in definition.get("properties", {}).items():
            yield f"{section}.{name}", setting


SETTINGS = dict(settings())


def test_there_are_settings_in_every_section() -> None:
    assert len(SETTINGS) > 60
    assert {"sources", "model", "sink", "limits"} <= set(SCHEMA["properties"])


@pytest.mark.parametrize("page", build.PAGES)
def test_a_page_is_fresh(page: str) -> None:
    assert (build.FOLDER / page).read_text(encoding="utf-8") == build.PAGES[page](), "run `make docs`"


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_has_a_description(name: str) -> None:
    assert len(SETTINGS[name].get("description", "")) > 10, f"{name}: add Field(description=…)"


@pytest.mark.parametrize("name", SETTINGS)
def test_a_number_has_a_unit(name: str) -> None:
    setting = SETTINGS[name]
    kinds = {choice.get("type") for choice in (setting, *setting.get("anyOf", ()))}
    if kinds & {"integer", "number"}:
        assert "unit" in str(setting), f"{name}: add json_schema_extra={{'unit': …}} to its Field"


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_stands_in_the_reference(name: str) -> None:
    section, _, key = name.partition(".")
    assert f"| `{key}` |" in settings_page.markdown(), section


def test_a_duration_and_a_size_are_shown_as_they_are_written() -> None:
    page = settings_page.markdown()
    assert "| `idle_after` | duration | seconds | `10m` |" in page
    assert "| `in_flight` | size | bytes | `2GiB` |" in page


@pytest.mark.parametrize("command", cli_page.commands(), ids=cli_page.name_of)
def test_a_command_says_what_it_does(command: Any) -> None:
    """The page against `--help` of the command itself, so that the page's own reading of typer is checked too."""
    name = cli_page.name_of(command)
    shown = subprocess.run(
        [sys.executable, "-m", "stream_infer.ops.cli", name, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", "PATH": "/usr/bin:/bin"},
    ).stdout
    section = cli_page.markdown().partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", shown)) - {"--help"}
    assert options == set(cli_page.options_of(command))
    assert all(f"`{option}`" in section for option in options)
    assert len((command.callback.__doc__ or "").split()) > 3


@pytest.mark.parametrize("module", [name for name in api_page.MODULES if find_spec(name)])
def test_a_public_name_has_a_docstring(module: str) -> None:
    undocumented = []
    for name in api_page.public_names(import_module(module)):
        value = getattr(import_module(module), name)
        if callable(value) and not (value.__doc__ or "").strip():
            undocumented.append(name)
    assert not undocumented


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.full_name)
def test_a_metric_stands_in_its_reference(metric: Any) -> None:
    page = (build.FOLDER / "metrics.md").read_text(encoding="utf-8")
    assert f"| `{metric.full_name}` |" in page
    assert metric.help
