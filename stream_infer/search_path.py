"""Where the user's own modules are, told to processes that were started elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def search_path() -> tuple[str, ...]:
    """The folders that this process was told to import from: its own, and those of ``PYTHONPATH``."""
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return tuple(dict.fromkeys(os.path.abspath(folder) for folder in (".", *filter(None, named))))


def importable(folders: Sequence[str]) -> None:
    """Import from these folders before all others, in this order.

    A worker of a standing cluster knows nothing of them, or has them from Ray the other way round.
    """
    sys.path[:] = [*folders, *(folder for folder in sys.path if folder not in folders)]
