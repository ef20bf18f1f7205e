"""What a source of numbers does and when, as data: counts of numbers with signals between them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from stream_infer.errors import Fatal


@dataclass(frozen=True, slots=True)
class EOF:
    """The source has no more for this run; the next run goes on behind it."""


@dataclass(frozen=True, slots=True)
class ABORT:
    """The source cannot go on and its run ends with `errors.Fatal`; the next run goes on behind it."""


@dataclass(frozen=True, slots=True)
class PAUSE:
    """Nothing arrives for so many seconds."""

    seconds: float


Signal = EOF | ABORT | PAUSE


class Script:
    """How many numbers there are at the moment, by a script such as ``[5, PAUSE(0.2), 5, EOF(), 10]``.

    A run that starts at a signal goes on behind it: that is how the run after the signal differs from the run before.
    """

    def __init__(self, items: Sequence[int | Signal]) -> None:
        self._signals: list[tuple[int, Signal]] = []  # how many numbers stand before each
        self.total = 0
        for item in items:
            if isinstance(item, int):
                self.total += item
            else:
                self._signals.append((self.total, item))
        self._started = False
        self._paused_until: float | None = None

    def add(self, count: int) -> None:
        """Append numbers to the script."""
        self.total += count

    def available(self, start: int) -> int:
        """How many numbers there are for a run that has planned those before ``start``."""
        if not self._started:
            self._signals = [(number, signal) for number, signal in self._signals if number > start]
            self._started = True
        while self._signals:
            number, signal = self._signals[0]
            if start < number or not isinstance(signal, PAUSE):
                return number
            if self._paused_until is None:
                self._paused_until = time.monotonic() + signal.seconds
            if self._paused_until > time.monotonic():
                return number
            self._signals.pop(0)
            self._paused_until = None
        return self.total

    def check_abort(self, start: int) -> None:
        """Raises Fatal for a run that comes to ABORT. Ask where a plan begins: what it gave before is stored then."""
        if self.available(start) == start and self._signals and isinstance(self._signals[0][1], ABORT):
            raise Fatal(f"the script ends the run behind {start} numbers")

    def seconds_left(self) -> float | None:
        """Seconds that are left of a pause that has begun; None where none has."""
        return None if self._paused_until is None else max(0.0, self._paused_until - time.monotonic())
