"""One import package: what a wheel holds, and a user's own folders and modules beside it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.packaging.packaging_kit import Environment

_OURS = (
    "config",
    "ledger",
    "splits",
    "models",
    "records",
    "plugins",
    "connectors",
    "ops",
    "worker",
    "driver",
    "errors",
)
_PIPELINE = """
name: mine
ledger: sqlite:///{folder}/ledger.db
sources: [{{name: inbox, kind: files, url: "{folder}/in", format: text, discover: {{settle: 0}}}}]
preprocess: "connectors.clean:lower"
model: {{kind: python, python: "model:Shout"}}
sink: {{url: "{folder}/out"}}
serve: null
"""


def test_a_wheel_holds_one_package_with_all_its_data(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"stream_infer"}
    for name in (
        "py.typed",
        "connectors/kafka/plugin.py",
        "ops/cli.py",
        "ops/parts/pom.xml",
        "ops/service/static/page.js",
        "ops/service/templates/page.html",
        "ops/service/templates/parts/head.html",
        "testing/__init__.py",
    ):
        assert f"stream_infer/{name}" in names


def _project(folder: Path) -> None:
    """A user's project with folders and modules that are named like those of this package."""
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "a.txt").write_text("Hello")
    for name in ("connectors", "ops"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("")
    (folder / "connectors" / "clean.py").write_text(
        "import config, ops.more\n"
        "def lower(records):\n"
        "    texts = [config.SIGN + text.lower() for text in records.column('text').to_pylist()]\n"
        "    return records.set_column(records.column_names.index('text'), 'text', [texts])\n"
    )
    (folder / "ops" / "more.py").write_text("MORE = '?'\n")
    for name in _OURS:
        if not (folder / name).exists():
            (folder / f"{name}.py").write_text("SIGN = '!'\n")
    (folder / "model.py").write_text(
        "import splits, ledger, models\n"
        "from ops.more import MORE\n"
        "class Shout:\n"
        "    def infer(self, batch):\n"
        "        return {'out': [text + splits.SIGN + MORE for text in batch.column('text').to_pylist()]}\n"
    )
    (folder / "pipeline.yaml").write_text(_PIPELINE.format(folder=folder))


@pytest.mark.parametrize("how", ["wheel", "editable"])
def test_a_users_own_modules_stand_beside_it(
    how: str, wheel: Path, source: Path, environment: Callable[[], Environment], tmp_path: Path
) -> None:
    built = environment()
    built.install(*([str(wheel)] if how == "wheel" else ["--editable", str(source)]))
    _project(tmp_path)
    answer = built.run(tmp_path, "run", "pipeline.yaml", "--until-idle")
    assert answer.returncode == 0, answer.stderr
    assert pq.read_table(tmp_path / "out").column("out").to_pylist() == ["!hello!?"]
    counts = json.loads(built.run(tmp_path, "audit", "pipeline.yaml", "--json").stdout)
    assert (counts["committed"], counts["lost"], counts["duplicated"]) == (1, 0, 0)


def test_a_users_single_module_named_connectors(
    wheel: Path, environment: Callable[[], Environment], tmp_path: Path
) -> None:
    built = environment()
    built.install(str(wheel))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("Hello")
    (tmp_path / "connectors.py").write_text("class clean:\n    lower = staticmethod(lambda records: records)\n")
    (tmp_path / "model.py").write_text(
        "import connectors\nclass Shout:\n    def infer(self, batch):\n        return {'out': [connectors.__name__]}\n"
    )
    text = _PIPELINE.format(folder=tmp_path).replace('preprocess: "connectors.clean:lower"\n', "")
    (tmp_path / "pipeline.yaml").write_text(text)
    answer = built.run(tmp_path, "run", "pipeline.yaml", "--until-idle")
    assert answer.returncode == 0, answer.stderr
    assert pq.read_table(tmp_path / "out").column("out").to_pylist() == ["connectors"]
