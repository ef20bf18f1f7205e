"""An installed package adds a source, a sink, a model and a format without a change in this repository."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.packaging_kit import Environment

_PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "guest"
version = "1"
[tool.setuptools]
py-modules = ["guest"]
[project.entry-points."stream_infer.sources"]
numbers = "guest:NUMBERS"
[project.entry-points."stream_infer.sinks"]
memory = "guest:MEMORY"
[project.entry-points."stream_infer.models"]
shout = "guest:SHOUT"
[project.entry-points."stream_infer.formats"]
reversed = "guest:REVERSED"
"""
_GUEST = """
from pathlib import Path
from typing import Literal

import pyarrow as pa
from pydantic import Field

from stream_infer.config import FormatSettings, ModelSettings, SinkSettings, SourceSettings
from stream_infer.decode.base import Decoded
from stream_infer.decode.format import Format
from stream_infer.plugins import Plugin


class NumbersSettings(SourceSettings):
    kind: Literal["numbers"]
    count: int = Field(description="how many numbers there are")


class MemorySettings(SinkSettings):
    kind: Literal["memory"]
    folder_of_memory: str = Field(description="a folder in memory")


class ShoutSettings(ModelSettings):
    kind: Literal["shout"]
    mark: str = Field(default="!", description="what is shouted at the end")


class ReversedOptions(FormatSettings):
    kind: Literal["reversed"] = Field(default="reversed", description="text from its end")
    upper: bool = Field(default=False, description="in capital letters")


def numbers(settings, *, pipeline, limits):
    from stream_infer.testing import NumbersSource

    return NumbersSource(settings.name, settings.count)


def memory(settings):
    from stream_infer.testing import FolderSink

    return FolderSink(Path(settings.folder_of_memory))


def shout(settings):
    from stream_infer.models.python_model import UserModel
    from stream_infer.models.settings import PythonModel

    common = {"batch": settings.batch, "replicas": settings.replicas}
    return UserModel(PythonModel(kind="python", python="guest:Shout", options={"mark": settings.mark}, **common))


class Shout:
    def __init__(self, mark):
        self.mark = mark

    def infer(self, batch):
        name = "text" if "text" in batch.column_names else "number"
        return {"out": [f"{value}{self.mark}" for value in batch.column(name).to_pylist()]}


def turned(content, options, limits):
    text = bytes(content).decode()[::-1]
    yield Decoded(pa.table({"text": [text.upper() if options.upper else text]}), range(1))


NUMBERS = Plugin(NumbersSettings, numbers)
MEMORY = Plugin(MemorySettings, memory)
SHOUT = Plugin(ShoutSettings, shout)
REVERSED = Format("reversed", ("rev",), "text", True, ReversedOptions, turned)
"""
_NUMBERS = """
name: guests
ledger: sqlite:///{folder}/ledger.db
sources: [{{name: n, kind: numbers, count: 25}}]
model: {{kind: shout, mark: "?"}}
sink: {{kind: memory, folder_of_memory: "{folder}/memory"}}
serve: null
"""
_REVERSED = """
name: turned
ledger: sqlite:///{folder}/turned.db
sources: [{{name: inbox, kind: files, url: "{folder}/in", format: {format}, discover: {{settle: 0}}}}]
model: {{kind: shout}}
sink: {{url: "{folder}/out"}}
serve: null
"""


@pytest.fixture(scope="module")
def guest(wheel: Path, environment: Callable[[], Environment], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with this package's wheel and a tiny package of somebody else."""
    project = tmp_path_factory.mktemp("guest")
    (project / "pyproject.toml").write_text(_PROJECT)
    (project / "guest.py").write_text(_GUEST)
    built = environment()
    built.install(str(wheel))
    built.install(str(project))
    return built


def test_numbers_are_shouted_into_memory(guest: Environment, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(_NUMBERS.format(folder=tmp_path))
    answer = guest.run(tmp_path, "run", "p.yaml", "--until-idle")
    assert answer.returncode == 0, answer.stderr
    counts = json.loads(guest.run(tmp_path, "audit", "p.yaml", "--json").stdout)
    assert (counts["planned"], counts["committed"], counts["lost"], counts["duplicated"]) == (25, 25, 0, 0)
    assert list((tmp_path / "memory").rglob("*.json"))


@pytest.mark.parametrize(
    ("chosen", "row"),
    [("reversed", "olleH!"), ("{kind: reversed, upper: true}", "OLLEH!"), ("auto", "olleH!")],
)
def test_a_format_by_its_name_with_options_and_by_its_suffix(
    guest: Environment, tmp_path: Path, chosen: str, row: str
) -> None:
    import pyarrow.parquet as pq

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.rev").write_text("Hello")
    (tmp_path / "p.yaml").write_text(_REVERSED.format(folder=tmp_path, format=chosen))
    answer = guest.run(tmp_path, "run", "p.yaml", "--until-idle")
    assert answer.returncode == 0, answer.stderr
    assert pq.read_table(tmp_path / "out").column("out").to_pylist() == [row]


def test_the_schema_and_the_errors_name_them(guest: Environment, tmp_path: Path) -> None:
    definitions = json.loads(guest.run(tmp_path, "schema").stdout)["$defs"]
    assert {"NumbersSettings", "MemorySettings", "ShoutSettings", "ReversedOptions"} <= set(definitions)
    text = _NUMBERS.format(folder=tmp_path)
    for wrong, words in (
        (text.replace("kind: numbers", "kind: number"), ("sources.0.kind: there is no 'number' here", "numbers")),
        (text.replace("count: 25", "count: many"), ("sources.0.count: ",)),
        (text.replace("mark:", "marc:"), ("model.marc: there is no such setting; did you mean 'mark'?",)),
    ):
        (tmp_path / "p.yaml").write_text(wrong)
        answer = guest.run(tmp_path, "validate", "p.yaml")
        assert answer.returncode == 2
        assert all(word in " ".join(answer.stderr.split()) for word in words), answer.stderr
