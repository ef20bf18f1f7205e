"""The command line, called in this process."""

from __future__ import annotations

import pytest

from stream_infer.ops import cli


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Exit code of ``stream-infer`` with the arguments."""
    monkeypatch.setattr("sys.argv", ["stream-infer", *arguments])
    try:
        cli.main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0
