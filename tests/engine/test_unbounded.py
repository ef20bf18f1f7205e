"""The one module that touches Ray's private parts is checked against one version of Ray."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import ray

from stream_infer.engine import unbounded


def test_ray_is_the_version_this_was_checked_against() -> None:
    assert ray.__version__ == unbounded.CHECKED_VERSION


def test_only_two_modules_touch_private_parts_of_ray_data() -> None:
    root = Path(__file__).parents[2]
    sources = [path for folder in ("stream_infer", "connectors", "ops") for path in (root / folder).rglob("*.py")]
    users = [path.name for path in sources if "ray.data._internal" in path.read_text()]
    assert sorted(users) == ["lean.py", "unbounded.py"]


def test_the_loop_turns_quickly_for_few_blocks_and_for_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(unbounded.time, "monotonic", lambda: now)
    monkeypatch.setattr(unbounded.ray, "put", lambda block: block)
    monkeypatch.setattr(unbounded, "RefBundle", lambda **_: None)
    monkeypatch.setattr(unbounded, "BlockEntry", lambda **_: None)
    feed = unbounded.Feed(pa.schema([]))

    def through(blocks: int, each: float) -> float:
        nonlocal now
        for _ in range(blocks):
            feed.push(pa.table({}))
            now += each
            feed.done()
        return feed.turn()

    assert through(20, 10.0) == 0.02
    for _ in range(3):
        feed.push(pa.table({}))
    assert through(20, 10.0) == 0.1
    assert through(40, 0.05) == 0.02
