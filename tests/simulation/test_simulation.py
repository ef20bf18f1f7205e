"""The real planner, ledger, committer, connectors and supervisor in a simulated world. Every seed is one history."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.sim_case import Case
from tests.simulation.sim_play import theatre
from tests.simulation.sim_run import Make, keep, kept, run, story

QUICK = range(100, 106)
SEEDS = int(os.environ.get("STREAM_INFER_SIM_SEEDS", "10000"))
FIRST = int(os.environ.get("STREAM_INFER_SIM_FIRST", "0"))
RACES = int(os.environ.get("STREAM_INFER_SIM_RACES", "1000"))


def replay(file: Path) -> None:
    with theatre(verbose=True) as perform:
        result = perform(Case.from_json(file.read_text()))
    assert result.failure is None, story(result)


@pytest.mark.parametrize("file", list(kept()), ids=lambda file: file.stem)
def test_what_failed_once_holds(file: Path) -> None:
    replay(file)


def test_a_few_histories() -> None:
    with theatre() as perform:
        for seed in QUICK:
            result = perform(Case.of(seed))
            assert result.failure is None, f"seed {seed}\n{story(result)}"


def test_a_seed_tells_everything() -> None:
    """The same seed gives the same history, whatever the process performed before."""
    with theatre(verbose=True) as perform:
        first = perform(Case.race(QUICK[0]))
        for seed in QUICK[1:]:
            perform(Case.of(seed))
            again = perform(Case.race(QUICK[0]))
            assert first.log == again.log
            assert first.event_count == again.event_count


def test_a_case_is_data() -> None:
    case = Case.of(3)
    assert Case.from_json(case.to_json()) == case
    assert all(len(smaller.to_json()) < len(case.to_json()) for smaller in case.smaller())


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_another_process_tells_the_same_history() -> None:
    code = (
        "import sys; sys.path[:0] = ['.']\n"
        "from tests.simulation.sim_case import Case; from tests.simulation.sim_play import theatre; import hashlib\n"
        "with theatre() as perform: print(hashlib.md5(repr(perform(Case.of(7)).log).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


@pytest.mark.chaos
@pytest.mark.timeout(36000)
def test_every_seed_ends_with_each_record_once() -> None:
    check(Case.of, "seed", SEEDS)


@pytest.mark.chaos
@pytest.mark.timeout(7200)
def test_of_two_instances_only_the_newer_one_commits() -> None:
    counts = check(Case.race, "race", RACES)
    assert counts["races"] >= RACES


def check(make: Make, word: str, number: int) -> dict[str, int]:
    failures, counts = run(make, range(FIRST, FIRST + number))
    print(f"{number} {word}s from {FIRST}: {len(failures)} failed; {dict(sorted(counts.items()))}")
    for seed, failure in failures:
        print(f"{word} {seed}: {failure}")
    if failures:
        seed, failure = failures[0]
        file = keep(make(seed), f"{word}-{seed}")
        how = f"python -m pytest tests/simulation/test_simulation.py -k {file.stem}"
        pytest.fail(f"{word} {seed}: {failure}; shrunk and kept as {file.name}; replay it with: {how}")
    return counts
