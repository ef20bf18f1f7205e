"""Crash points: named places where the chaos suite ends this process with SIGKILL.

Each effect that is visible outside this process has two points: one before it, and one after it but before the effect is
reported to any other part. Points are off unless ``STREAM_INFER_CRASH`` names some, as ``FOLDER:NAME[*HIT],…``. A named point
kills once: the first process that passes it for the HIT-th time (default: the first). The process then leaves an empty file
with the point's name in the folder, so that no other process and no later start is killed at that point.

The points follow FreeBSD's and TiKV's fail points. In addition, the chaos suite checks a plain listing of the output at each.
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
    """Points ``NAME.before`` and ``NAME.after`` around an effect; the second only if the effect raised no error."""

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
