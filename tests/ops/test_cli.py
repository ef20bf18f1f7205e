"""What a user meets first: exit codes, one clear sentence, no traceback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from tests.ops.cli_kit import call

ROOT = Path(__file__).parents[2]
GOOD = """
name: p
ledger: sqlite:///{folder}/state/ledger.db
sources: [{{name: inbox, kind: files, url: "{folder}/in"}}]
model: {{kind: python, python: "no_such_module:Model"}}
sink: {{url: "{folder}/out"}}
serve: null
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "p.yaml").write_text(GOOD.format(folder=tmp_path))
    (tmp_path / "in").mkdir()
    return str(tmp_path / "p.yaml")


def test_a_wrong_file_is_exit_two_and_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, file: str
) -> None:
    Path(file).write_text(Path(file).read_text() + "sinc: {}\n")
    for command in (["validate", file], ["run", file], ["audit", file], ["status", file]):
        assert call(monkeypatch, *command) == 2
        said = capsys.readouterr().err
        assert "did you mean 'sink'" in " ".join(said.split())
        assert "Traceback" not in said
    assert call(monkeypatch, "validate", str(tmp_path / "none.yaml")) == 2


def test_a_model_that_is_not_there_is_told_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    assert call(monkeypatch, "run", "--until-idle", file) == 2
    assert "no_such_module" in capsys.readouterr().err


def test_the_documents_of_a_pipeline_that_never_ran(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    assert call(monkeypatch, "audit", file, "--json") == 0
    assert json.loads(capsys.readouterr().out) == dict.fromkeys(
        ("planned", "committed", "rejected", "in_flight", "lost", "duplicated"), 0
    )
    assert call(monkeypatch, "rejects", file, "list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []
    assert call(monkeypatch, "where", file, "topic/0/1") == 1
    capsys.readouterr()
    assert call(monkeypatch, "where", file, "a.txt") == 1
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("a.txt was never planned; the sources are inbox (")
    assert call(monkeypatch, "where", file, "kafka://nonsense") == 2
    assert call(monkeypatch, "status", file) == 0
    assert call(monkeypatch, "schema") == 0


def test_the_version_has_one_source_and_comes_with_a_wheel(tmp_path: Path) -> None:
    expected = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert metadata.version("stream-infer") == expected, "the environment is older than pyproject.toml: make install"
    assert _version_of({}) == f"stream-infer {expected}"

    tree, site = tmp_path / "tree", tmp_path / "site"
    shutil.copytree(ROOT, tree, symlinks=True, ignore=_only_sources)
    changed = (tree / "pyproject.toml").read_text().replace(f'version = "{expected}"', 'version = "7.8.9"')
    (tree / "pyproject.toml").write_text(changed)
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('.'))"
    built = subprocess.run([sys.executable, "-c", build], cwd=tree, capture_output=True, text=True, check=True)
    zipfile.ZipFile(tree / built.stdout.splitlines()[-1]).extractall(site)
    assert _version_of({"PYTHONPATH": str(site)}) == "stream-infer 7.8.9"
    code = "import stream_infer; print(stream_infer.__version__, stream_infer.__file__)"
    assert _output(["-c", code], {"PYTHONPATH": str(site)}) == f"7.8.9 {site}/stream_infer/__init__.py"


def _only_sources(folder: str, names: list[str]) -> set[str]:
    if Path(folder) == ROOT:
        return set(names) - {"stream_infer", "connectors", "ops", "pyproject.toml", "README.md", "LICENSE"}
    return {"__pycache__"}


def _version_of(environment: dict[str, str]) -> str:
    return _output(["-m", "stream_infer.ops.cli", "--version"], environment)


def _output(arguments: list[str], environment: dict[str, str]) -> str:
    ran = subprocess.run(
        [sys.executable, *arguments],
        cwd="/",
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.strip()
