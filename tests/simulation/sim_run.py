"""Many cases over all cores; a failing one is shrunk and kept."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.simulation.sim_case import Case, shrink
from tests.simulation.sim_play import Result, theatre

KEPT = Path(__file__).with_name("cases")
_CHUNK = 20
Make = Callable[[int], Case]


def run(make: Make, seeds: Sequence[int]) -> tuple[list[tuple[int, str]], Counter[str]]:
    """(seed, failure) of the cases that failed, and how often each thing happened."""
    chunks = [(make, seeds[at : at + _CHUNK]) for at in range(0, len(seeds), _CHUNK)]
    failures: list[tuple[int, str]] = []
    counts: Counter[str] = Counter()
    # forked: what took half a minute to import is there already, and no collection looks through it again
    gc.collect()
    gc.freeze()
    with multiprocessing.get_context("fork").Pool(os.cpu_count(), maxtasksperchild=10) as pool:
        for failed, counted in pool.imap_unordered(_perform, chunks):
            failures += failed
            counts.update(counted)
    return sorted(failures), counts


def _perform(chunk: tuple[Make, Sequence[int]]) -> tuple[list[tuple[int, str]], dict[str, int]]:
    make, seeds = chunk
    failures: list[tuple[int, str]] = []
    counts: Counter[str] = Counter()
    with theatre() as perform:
        for seed in seeds:
            result = perform(make(seed))
            counts.update(result.counts)
            if result.failure is not None:
                failures.append((seed, result.failure))
    return failures, dict(counts)


def keep(case: Case, name: str) -> Path:
    """Write the smallest case that still fails beside the others; returns its file."""
    with theatre() as perform:
        small = shrink(case, lambda smaller: perform(smaller).failure is not None)
    file = KEPT / f"{name}.json"
    file.write_text(small.to_json() + "\n")
    return file


def kept() -> Iterator[Path]:
    """The cases that failed once."""
    yield from sorted(KEPT.glob("*.json"))


def story(result: Result) -> str:
    """What happened, for a person."""
    lines = [f"{when:9.3f} {what}" for when, what in result.log]
    return "\n".join([*lines, f"setup: {result.case.setup}", f"rates: {result.case.rates}", str(result.failure)])
