"""The core install: a pipeline of files and a class runs without the packages of the extras; else a sentence names the extra."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.packaging.packaging_kit import Environment

_EXTRAS = (
    *("torch", "transformers", "safetensors", "psycopg", "psycopg_binary", "psycopg_c"),
    *("confluent_kafka", "kafka", "boto3", "botocore", "aiobotocore", "s3fs", "obstore"),
)
_PIPELINE = """
name: core
ledger: {ledger}
sources: [{source}]
model: {model}
sink: {{url: "{folder}/out"}}
serve: null
"""


@pytest.fixture(scope="module")
def core(wheel: Path, environment: Callable[..., Environment]) -> Environment:
    """An environment without the packages of the extras."""
    built = environment(without=_EXTRAS)
    built.install(str(wheel))
    return built


def _written(folder: Path, **changes: str) -> None:
    values = {
        "folder": str(folder),
        "ledger": f"sqlite:///{folder}/ledger.db",
        "source": f'{{name: inbox, kind: files, url: "{folder}/in", discover: {{settle: 0}}}}',
        "model": '{kind: python, python: "model:Count"}',
    }
    (folder / "pipeline.yaml").write_text(_PIPELINE.format(**(values | changes)))


def test_a_class_over_files_runs(core: Environment, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("Hello")
    (tmp_path / "model.py").write_text(
        "import importlib.util\n"
        f"assert not [name for name in {_EXTRAS!r} if importlib.util.find_spec(name)]\n"
        "class Count:\n"
        "    def infer(self, batch):\n"
        "        return {'n': [len(text) for text in batch.column('text').to_pylist()]}\n"
    )
    _written(tmp_path)
    answer = core.run(tmp_path, "run", "pipeline.yaml", "--until-idle")
    assert answer.returncode == 0, answer.stderr
    assert pq.read_table(tmp_path / "out").column("n").to_pylist() == [5]


@pytest.mark.parametrize(
    ("changes", "command", "words"),
    [
        (
            {"source": '{name: s, kind: kafka, servers: "x:1", topics: [t]}'},
            "validate",
            ("sources.0.kind: kafka needs the package confluent_kafka", "pip install 'stream-infer[kafka]'"),
        ),
        (
            {"model": "{kind: transformers, task: fill-mask, path: x}"},
            "validate",
            ("model.kind: transformers needs the package torch", "pip install 'stream-infer[transformers]'"),
        ),
        ({"ledger": "postgresql+psycopg://h/d"}, "status", ("ledger: ", "pip install 'stream-infer[postgres]'")),
    ],
)
def test_a_missing_extra_is_named(
    core: Environment, tmp_path: Path, changes: dict[str, str], command: str, words: tuple[str, ...]
) -> None:
    _written(tmp_path, **changes)
    answer = core.run(tmp_path, command, "pipeline.yaml")
    assert answer.returncode == 2, answer.stderr
    assert all(word in " ".join(answer.stderr.split()) for word in words), answer.stderr
