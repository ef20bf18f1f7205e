"""The watcher: one writer for all who listen, the newest for each, and no wait for a ledger that is silent."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from stream_infer.errors import Retryable
from stream_infer.ledger import Ledger
from stream_infer.ops.watch.watcher import Published, Watcher
from stream_infer.pipeline import Pipeline
from tests.ops.service.page_kit import fill, settings

T = TypeVar("T")


class _Odd(Pipeline):
    """A pipeline whose ledger can be made silent or failing."""

    answers: threading.Event | None = None
    failure: Exception | None = None

    def ledger(self) -> Ledger:
        if self.failure is not None:
            raise self.failure
        if self.answers is not None:
            self.answers.wait()
        return super().ledger()


@contextmanager
def _watched(folder: Path) -> Iterator[tuple[_Odd, Watcher]]:
    with closing(_Odd(settings(folder))) as pipeline:
        fill(pipeline)
        watcher = Watcher(pipeline)
        watcher.start()
        try:
            yield pipeline, watcher
        finally:
            watcher.stop()


def _listening(work: Coroutine[Any, Any, T]) -> T:
    """Its result, from a loop in a thread of its own: a browser's driver may have left one running in this."""

    async def bounded() -> T:
        return await asyncio.wait_for(work, 60)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, bounded()).result()


def test_all_listeners_get_one_writers_snapshots_and_a_slow_one_the_newest(tmp_path: Path) -> None:
    async def listened(watcher: Watcher) -> tuple[list[Published], list[Published]]:
        quick, slow = watcher.listen(), watcher.listen()
        seen = [await anext(quick)]
        late = [await anext(slow)]
        while len(seen) < 3:
            seen.append(await anext(quick))
        late.append(await anext(slow))
        await quick.aclose()  # type: ignore[attr-defined]
        await slow.aclose()  # type: ignore[attr-defined]
        return seen, late

    with _watched(tmp_path) as (_, watcher):
        seen, late = _listening(listened(watcher))
    assert [item.number for item in seen] == sorted({item.number for item in seen})
    assert late[1].number >= seen[-1].number
    assert any(late[0] is item for item in seen) or late[0].number > seen[0].number
    assert seen[0].json is seen[0].json  # made once, for all


def test_who_comes_later_is_told_of_now_and_not_of_then(tmp_path: Path) -> None:
    async def first(watcher: Watcher) -> Published:
        listening = watcher.listen()
        published = await anext(listening)
        await listening.aclose()  # type: ignore[attr-defined]
        return published

    with _watched(tmp_path) as (_, watcher):
        before = _listening(first(watcher))
        at = time.time()
        after = _listening(first(watcher))
    assert before.snapshot.at < at < after.snapshot.at


def test_listeners_are_let_go_when_it_stops(tmp_path: Path) -> None:
    async def listened(watcher: Watcher) -> int:
        count = 0
        async for _ in watcher.listen():
            count += 1
            threading.Thread(target=watcher.stop).start()
        return count

    with _watched(tmp_path) as (_, watcher):
        assert _listening(listened(watcher)) >= 1


def test_a_silent_ledger_makes_figures_old_and_never_the_answer_late(tmp_path: Path) -> None:
    with _watched(tmp_path) as (pipeline, watcher):
        assert watcher.now().records.committed == 9
        pipeline.answers = threading.Event()
        try:
            snapshot = watcher.now()
            assert snapshot.records.committed == 9
            assert snapshot.ledger_trouble == "the ledger's database did not answer yet"
            assert snapshot.findings[0].rule == "ledger unavailable"
            assert watcher.now().ledger_trouble
        finally:
            pipeline.answers.set()
        assert watcher.now().ledger_trouble is None


def test_a_failing_ledger_is_told_with_its_reason(tmp_path: Path) -> None:
    with _watched(tmp_path) as (pipeline, watcher):
        pipeline.failure = Retryable("the ledger's database did not answer: gone")
        assert watcher.now().ledger_trouble == "the ledger's database did not answer: gone"
        pipeline.failure = None
        assert watcher.now().ledger_trouble is None


def test_it_remembers_since_when_the_state_is_what_it_is(tmp_path: Path) -> None:
    with _watched(tmp_path) as (pipeline, watcher):
        since = watcher.now().since
        assert since is not None
        assert watcher.now().since == since <= time.time()
        pipeline._state = "standby"
        later = watcher.now()
        assert later.state == "standby"
        assert later.since is not None
        assert since < later.since <= later.at


@pytest.mark.parametrize("times", [1, 3])
def test_it_can_be_asked_before_it_has_run(tmp_path: Path, times: int) -> None:
    with closing(Pipeline(settings(tmp_path))) as pipeline:
        watcher = Watcher(pipeline)
        for _ in range(times):
            assert watcher.now().state == "starting"
