"""Python imports this at its start where this folder is on the path: a wall clock that a test can set."""

from __future__ import annotations

import os
import time
from typing import Any

_FILE = os.environ.get("STREAM_INFER_TEST_CLOCK", "")  # holds the seconds by which this clock is ahead


def _ahead() -> float:
    try:
        with open(_FILE) as file:
            return float(file.read() or 0)
    except (OSError, ValueError):
        return 0.0


def _shifted(real: Any, unit: float) -> Any:
    return lambda: real() + type(real())(_ahead() * unit)


if _FILE:
    time.time = _shifted(time.time, 1)
    time.time_ns = _shifted(time.time_ns, 1e9)
