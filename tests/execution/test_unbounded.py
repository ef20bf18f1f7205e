"""The one module that touches Ray's private parts is checked against one version of Ray."""

from __future__ import annotations

import threading
from pathlib import Path

import pyarrow as pa
import pytest
import ray

from stream_infer.execution import unbounded


def test_ray_is_the_version_this_was_checked_against() -> None:
    assert ray.__version__ == unbounded.CHECKED_VERSION


def test_only_two_modules_touch_private_parts_of_ray_data() -> None:
    root = Path(__file__).parents[2]
    sources = [path for folder in ("stream_infer", "connectors", "ops") for path in (root / folder).rglob("*.py")]
    users = [path.name for path in sources if "ray.data._internal" in path.read_text()]
    assert sorted(users) == ["minimal_ray.py", "unbounded.py"]


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> unbounded.Feed:
    monkeypatch.setattr("stream_infer.execution.unbounded.ray.put", lambda block: block)
    monkeypatch.setattr(unbounded, "RefBundle", lambda **_: None)
    monkeypatch.setattr(unbounded, "BlockEntry", lambda **_: None)
    return unbounded.Feed(pa.schema([]))


def test_the_loop_looks_often_for_new_splits_while_few_are_there(feed: unbounded.Feed) -> None:
    for _ in range(3):
        feed.push(pa.table({}))
    assert feed.turn() == 0.25
    feed.done(1)
    assert feed.turn() == 0.02


@pytest.mark.parametrize("what", ["a block", "the end"])
def test_nobody_looks_for_blocks_while_none_is_on_its_way(feed: unbounded.Feed, what: str) -> None:
    feed.push(pa.table({}))
    feed.await_open()
    feed.done(1)
    looking = threading.Thread(target=feed.await_open, daemon=True)
    looking.start()
    looking.join(0.2)
    assert looking.is_alive()
    feed.push(pa.table({})) if what == "a block" else feed.close()
    looking.join(5.0)
    assert not looking.is_alive()


def test_a_loop_that_ended_unasked_is_looked_at(feed: unbounded.Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unbounded, "_SILENT_SECONDS", 0.1)
    feed.await_open()  # it turned for the last time when it was made


class _Ray:
    """What `ray.wait` would answer: the refs of ``ready``, at once; notes for how many it was asked to wait."""

    def __init__(self) -> None:
        self.ready: list[str] = []
        self.waited: list[int] = []

    def wait(
        self, refs: list[str], *, num_returns: int, fetch_local: bool, timeout: float
    ) -> tuple[list[str], list[str]]:
        if timeout:
            self.waited.append(num_returns)
        return [ref for ref in refs if ref in self.ready], [ref for ref in refs if ref not in self.ready]


def test_the_loop_wakes_with_the_first_task_and_does_not_spin_for_one_that_is_held_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = _Ray()
    monkeypatch.setattr(unbounded, "ray", fake)
    waits, refs = unbounded.Waits(), ["a", "b", "c"]

    def turn() -> tuple[list[str], list[str]]:
        return waits.wait(refs, num_returns=3, fetch_local=False, timeout=0.25)

    assert turn() == ([], refs)
    assert fake.waited == [1]
    fake.ready = ["b"]
    for _ in range(2):  # its block and its end: both are looked at without a wait
        assert turn() == (["b"], ["a", "c"])
    assert fake.waited == [1]
    for _ in range(3):  # nobody takes it: the wait is for another one
        turn()
    assert fake.waited == [1, 2, 2, 2]
    fake.ready = ["b", "c"]
    turn()
    assert fake.waited == [1, 2, 2, 2]
    fake.ready = refs
    for _ in range(4):  # all are ready: Ray itself would not wait either
        assert turn() == (refs, [])
    assert fake.waited == [1, 2, 2, 2]
