"""The script of the source of numbers, planned by a real planner."""

from __future__ import annotations

import pytest

from stream_infer.contracts import PlanBudget
from stream_infer.errors import Fatal
from stream_infer.testing import ABORT, EOF, PAUSE, NumbersSource
from stream_infer.testing.script import Signal

BUDGET = PlanBudget(splits=8, records=100, bytes=10**6, freshness=0.0, now=0.0)


class _At:
    """Implements `contracts.Position` for a source of numbers."""

    def __init__(self, number: int) -> None:
        self._number = number

    def get(self, key: str) -> int:
        return self._number

    def unseen(self, object_ids: object) -> set[str]:
        return set()


def _planned(source: NumbersSource, number: int) -> int:
    """The number at which one plan ends."""
    parts = list(source.plan(_At(number), BUDGET))
    return parts[-1].positions["n"] if parts else number


def test_a_run_ends_at_eof_and_the_next_goes_on() -> None:
    script: list[int | Signal] = [5, EOF(), 7]
    first = NumbersSource("numbers", script)
    assert _planned(first, 0) == 5
    assert _planned(first, 5) == 5
    assert _planned(NumbersSource("numbers", script), 5) == 12


def test_a_run_is_aborted_once() -> None:
    script: list[int | Signal] = [5, ABORT(), 7]
    first = NumbersSource("numbers", script)
    assert _planned(first, 0) == 5
    with pytest.raises(Fatal, match="behind 5 numbers"):
        _planned(first, 5)
    assert _planned(NumbersSource("numbers", script), 5) == 12


def test_a_pause_holds_back_what_comes_after_it() -> None:
    source = NumbersSource("numbers", [5, PAUSE(3600), 7])
    assert _planned(source, 0) == 5
    assert _planned(source, 5) == 5
    brief = NumbersSource("numbers", [5, PAUSE(0.001), 7])
    assert _planned(brief, 0) == 5
    number = 5
    while number == 5:
        brief.wait(1.0)
        number = _planned(brief, 5)
    assert number == 12
