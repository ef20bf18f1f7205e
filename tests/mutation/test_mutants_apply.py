"""Every mutant's text still stands where it is to be planted, and what it makes is still Python."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutation.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_it_applies(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text()
    planted = mutant.applied(text)
    assert planted != text
    ast.parse(planted)
    assert not mutant.tests or all((ROOT / name).exists() for name in mutant.tests.split())


def test_there_are_enough_and_each_has_its_name() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 50
