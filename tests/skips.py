"""Pytest hooks about skipped tests: what was skipped, which command brings it, and whether a skip fails the run.

A skip's reason has the form ``what is missing: command that brings it``. With ``STREAM_INFER_REQUIRE_PARTS=1`` (as `.ci/run`
sets it) every skip fails the run, except those of tests that need a GPU: no package brings one.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

NO_GPU = "no CUDA device"  # how the reason of a GPU test begins


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a green run red where parts are required and a test was skipped for lack of one."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if session.exitstatus == pytest.ExitCode.OK and _required() and any(map(_is_missing_part, _reasons(reporter))):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the number of skipped tests by reason; the reason ends with the command that brings what is missing."""
    reasons = Counter(_reasons(terminalreporter))
    if not reasons:
        return
    terminalreporter.section("skipped tests")
    for reason, count in reasons.most_common():
        fails = _required() and _is_missing_part(reason)
        terminalreporter.line(f"{count:4}  {reason}", red=fails, yellow=not fails)
    if _required() and any(map(_is_missing_part, reasons)):
        terminalreporter.line(
            "STREAM_INFER_REQUIRE_PARTS=1: a skipped test fails the run, except for lack of a GPU", red=True
        )


def _required() -> bool:
    return os.environ.get("STREAM_INFER_REQUIRE_PARTS") == "1"


def _reasons(reporter: pytest.TerminalReporter | None) -> list[str]:
    """The reason of every skipped test and module."""
    reports = reporter.stats.get("skipped", []) if reporter else []
    return [str(report.longrepr[2]).removeprefix("Skipped: ") for report in reports]


def _is_missing_part(reason: str) -> bool:
    return not reason.startswith(NO_GPU)
