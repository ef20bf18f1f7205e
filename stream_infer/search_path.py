"""Modules of the user: the folders with them, and the objects that settings name as ``module:name``."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any


def search_path() -> tuple[str, ...]:
    """The folders with the user's modules for this process: the current one, and those of ``PYTHONPATH``."""
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return tuple(dict.fromkeys(os.path.abspath(folder) for folder in (".", *filter(None, named))))


def importable(folders: Sequence[str]) -> None:
    """Import from these folders before all others, in this order.

    In a worker of a cluster that was started elsewhere they are missing, or Ray has added them in the opposite order.
    """
    sys.path[:] = [*folders, *(folder for folder in sys.path if folder not in folders)]


def load_named(path: str, folders: Sequence[str]) -> Any:
    """The object ``package.module:name``, with the modules in the folders importable. The name may hold dots.

    Raises:
        ImportError: the module, or one that it imports, cannot be imported.
        AttributeError: the module has no such name.
    """
    importable(folders)
    module, _, name = path.partition(":")
    loaded = importlib.import_module(module)
    for part in name.split("."):
        loaded = getattr(loaded, part)
    return loaded
