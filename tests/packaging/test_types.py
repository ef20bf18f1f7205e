"""The types that a user's own code sees, by mypy --strict in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_CODE = """
from stream_infer import Pipeline
p = Pipeline.from_file("x.yaml")
p.run(until_idle=True)
reveal_type(p)
reveal_type(Pipeline)
"""


def _checked(folder: Path, code: str) -> str:
    """What mypy says, with the project's own settings so that its cache serves."""
    (folder / "mine.py").write_text(code)
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", str(folder / "mine.py")]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return answer.stdout + answer.stderr


@pytest.mark.timeout(600)
def test_three_lines_of_a_user_are_typed(tmp_path: Path) -> None:
    answer = _checked(tmp_path, _CODE)
    assert 'Revealed type is "stream_infer.pipeline.Pipeline"' in answer, answer
    assert "def (settings: stream_infer.config.pipeline.PipelineSettings)" in answer, answer
    assert "error" not in answer, answer


def test_the_package_is_imported_without_the_engine() -> None:
    code = "import sys, stream_infer; assert not {'ray', 'pyarrow', 'pydantic'} & set(sys.modules), sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
