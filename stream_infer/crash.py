"""Crash points: named places where the chaos suite ends this process with SIGKILL.

Each effect that is visible outside this process has two points: one before it, and one after it but before anything else
learns of it. Points are off unless ``STREAM_INFER_CRASH`` names some, as ``FOLDER:NAME[*HIT],…``. A named point then kills
once, at its HIT-th passing (the first) in a process. An empty file of the point's name in the folder says that it has, for
all processes and later starts.

The points follow FreeBSD's and TiKV's fail points. New here: a plain listing of the output is checked at every one of them.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

SETTING: Final = "STREAM_INFER_CRASH"


class _Points:
    """The armed points of this process."""

    def __init__(self, setting: str) -> None:
        folder, _, names = setting.rpartition(":")
        self._folder = Path(folder)
        self._hits: Counter[str] = Counter()
        self.armed: dict[str, int] = {}
        for item in filter(None, names.split(",")):
            name, _, hit = item.partition("*")
            self.armed[name] = int(hit or 1)

    def claims(self, name: str) -> bool:
        """Count a passing of the point; True if this process must die now, which happens once in all processes."""
        self._hits[name] += 1
        if self._hits[name] != self.armed[name]:
            return False
        try:
            os.close(os.open(self._folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        return True


_POINTS: Final = _Points(os.environ.get(SETTING, ""))


def point(name: str) -> None:
    """End this process if the point is armed."""
    if name in _POINTS.armed and _POINTS.claims(name):
        _die()


class around:
    """Points ``NAME.before`` and ``NAME.after`` on both sides of an effect; the second only after an effect without an error."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        if _POINTS.armed:
            point(f"{self._name}.before")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if _POINTS.armed and kind is None:
            point(f"{self._name}.after")


def write(name: str, file: BinaryIO, data: bytes) -> None:
    """``file.write(data)``, with the point ``NAME.torn`` after its first half."""
    torn = f"{name}.torn"
    if torn in _POINTS.armed and _POINTS.claims(torn):
        file.write(data[: len(data) // 2])
        file.flush()
        _die()
    file.write(data)


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")
