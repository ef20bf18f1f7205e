"""Measurements by turns: a machine that is slow for a minute is slow for all jobs of a turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping


def by_turns(count: int, jobs: Mapping[str, Callable[[int], float | None]]) -> dict[str, list[float]]:
    """Each job's rates, one of each turn; the jobs of a turn follow one another.

    Args:
        jobs: what each is called, and what runs it once, given the turn's number. A job that returns None could not be run:
            it is not tried again and has no rates.
    """
    rates: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(count):
        for name in list(rates):
            rate = jobs[name](turn)
            if rate is None:
                del rates[name]
            else:
                rates[name].append(rate)
    return rates
