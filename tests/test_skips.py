"""Tests of the hooks in `tests/skips.py`, and of the reasons that this tree's own skips give."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_infer.ops import parts

pytest_plugins = ["pytester"]
_TESTS = Path(__file__).parent
_HOOKS = "from tests.skips import pytest_sessionfinish, pytest_terminal_summary"
_SUITE = """
import pytest

def test_passes():
    pass

@pytest.mark.skipif(True, reason="{reason}")
def test_skipped_by_a_mark():
    pass

@pytest.fixture
def part():
    pytest.skip("{reason}")

def test_skipped_by_a_fixture(part):
    pass
"""
_MODULE = 'import pytest\npytest.importorskip("no_such_package", reason="{reason}")\n'


@pytest.mark.parametrize(
    ("required", "reason", "code"),
    [
        ("1", "Chromium is not installed: apt-get install chromium", pytest.ExitCode.TESTS_FAILED),
        ("1", "no CUDA device: run this on a machine with an NVIDIA GPU", pytest.ExitCode.OK),
        ("0", "Chromium is not installed: apt-get install chromium", pytest.ExitCode.OK),
    ],
)
@pytest.mark.parametrize("suite", [_SUITE, _SUITE + _MODULE, _SUITE.partition("@pytest.fixture")[0]])
def test_a_skip_fails_the_run_only_where_parts_are_required(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, required: str, reason: str, code: int, suite: str
) -> None:
    monkeypatch.setenv("STREAM_INFER_REQUIRE_PARTS", required)
    pytester.makeconftest(_HOOKS)
    pytester.makepyfile(test_parts=suite.format(reason=reason), test_more="def test_more():\n    pass\n")
    result = pytester.runpytest_inprocess()
    assert result.ret == code
    result.stdout.fnmatch_lines(["*skipped tests*", f"*[0-9]  {reason}"])


def test_a_failed_run_keeps_its_exit_status(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_INFER_REQUIRE_PARTS", "1")
    pytester.makeconftest(_HOOKS)
    pytester.makepyfile("def test_nothing_skipped():\n    pass\n")
    assert pytester.runpytest_inprocess().ret == pytest.ExitCode.OK
    pytester.makepyfile(test_broken="import pytest\npytest.skip('a module: a command', allow_module_level=True)\n")
    assert pytester.runpytest_inprocess("test_no_such_file.py").ret == pytest.ExitCode.USAGE_ERROR


def test_every_skip_names_the_command_that_brings_what_is_missing() -> None:
    reasons = [*_skip_reasons(_TESTS), *_part_missing_reasons(Path(parts.__file__).parent)]
    assert len(reasons) >= 8
    for reason in reasons:
        assert re.fullmatch(r".{10,}: \S+ \S+.*", reason), reason


def _skip_reasons(folder: Path) -> Iterator[str]:
    """Literal reasons of `pytest.skip`, `skipif` and `importorskip`; a caught `PartMissing` is passed on as ``str(missing)``."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or path == Path(__file__):
                continue
            name = ast.unparse(node.func)
            if name in ("pytest.mark.skipif", "pytest.importorskip", "pytest.mark.skip"):
                (reason,) = [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
            elif name == "pytest.skip":
                reason = node.args[0]
            else:
                continue
            if ast.unparse(reason) != "str(missing)":
                yield ast.literal_eval(reason)


def _part_missing_reasons(folder: Path) -> Iterator[str]:
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "PartMissing":
                yield ast.literal_eval(node.args[0])
