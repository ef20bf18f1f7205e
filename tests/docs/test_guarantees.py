"""The page of guarantees names tests; every one of them exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guarantees.md").read_text()
FILES = sorted(set(re.findall(r"tests/[\w/]+(?:\.py)?", PAGE)))
TESTS = sorted(set(re.findall(r"`(test_\w+)`", PAGE)))
DEFINED = {
    name
    for file in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^(?:    )?def (test_\w+)\(", file.read_text(), re.MULTILINE)
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_named_exists(name: str) -> None:
    assert (ROOT / name).exists()


@pytest.mark.parametrize("name", TESTS)
def test_a_test_that_is_named_exists(name: str) -> None:
    assert name in DEFINED


def test_the_page_names_tests() -> None:
    assert len(TESTS) > 40
    assert len(FILES) > 5


def test_every_fault_test_is_on_the_page() -> None:
    files = (ROOT / "tests" / "chaos").glob("test_*_faults.py")
    named = {name for file in files for name in re.findall(r"^def (test_\w+)\(", file.read_text(), re.MULTILINE)}
    missing = {name for name in named if name not in PAGE} - {"test_at_the_end_the_audit_agrees"}
    assert missing == set()
