"""The endless source sleeps while it has nothing to do, and wakes at once."""

from __future__ import annotations

import threading

import pyarrow as pa
import pytest

from stream_infer.execution import unbounded


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> unbounded.Feed:
    monkeypatch.setattr("stream_infer.execution.unbounded.ray.put", lambda block: block)
    monkeypatch.setattr(unbounded, "RefBundle", lambda **_: None)
    monkeypatch.setattr(unbounded, "BlockEntry", lambda **_: None)
    return unbounded.Feed(pa.schema([]))


def test_the_loop_waits_shortly_for_few_blocks(feed: unbounded.Feed) -> None:
    for _ in range(3):
        feed.push(pa.table({}))
    assert feed.task_wait_seconds() == 0.25
    feed.done(1)
    assert feed.task_wait_seconds() == 0.02


@pytest.mark.parametrize("event", ["a block", "the end"])
def test_outputs_are_not_polled_while_no_block_is_in_the_execution(feed: unbounded.Feed, event: str) -> None:
    feed.push(pa.table({}))
    feed.await_open()
    feed.done(1)
    polling = threading.Thread(target=feed.await_open, daemon=True)
    polling.start()
    polling.join(0.2)
    assert polling.is_alive()
    feed.push(pa.table({})) if event == "a block" else feed.close()
    polling.join(5.0)
    assert not polling.is_alive()


def test_outputs_are_polled_after_the_loop_has_ended_by_itself(
    feed: unbounded.Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unbounded, "_SILENT_SECONDS", 0.1)
    feed.await_open()  # its last step was its construction
