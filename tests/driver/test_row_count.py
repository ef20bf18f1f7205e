"""An object is counted in a process of its own, for it may be the one that kills who reads it."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from stream_infer.bounds import ObjectRef
from stream_infer.connectors.files.reader import FilesReader
from stream_infer.driver.row_count import count_apart
from stream_infer.errors import Retryable

ITEM = ObjectRef("a.jsonl", "v", 10, 0.0)


class Counts(FilesReader):
    """Counts, raises or dies, as told."""

    def __init__(self, does: str) -> None:
        self._does = does

    def count_rows(self, item: Any) -> int:
        if self._does == "dies":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self._does == "waits":
            raise Retryable("the store is away")
        return 7


def test_what_the_process_finds_is_told() -> None:
    assert count_apart(Counts("counts"), ITEM) == 7


def test_an_object_that_kills_its_reader_is_one_record() -> None:
    assert count_apart(Counts("dies"), ITEM) == 1


def test_a_store_that_does_not_answer_says_nothing_about_the_object() -> None:
    with pytest.raises(Retryable, match="away"):
        count_apart(Counts("waits"), ITEM)
