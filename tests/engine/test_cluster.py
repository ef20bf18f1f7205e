"""Starting Ray: its own processes may need more time than Ray gives them."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import ray

from stream_infer.engine import cluster
from stream_infer.errors import Fatal

SLOW = "The current node timed out during startup. This could happen because some of the raylet failed to startup"


@pytest.mark.parametrize("slow_starts", [1, 2])
def test_a_local_ray_that_is_slow_to_start_is_started_again(monkeypatch: pytest.MonkeyPatch, slow_starts: int) -> None:
    calls: list[str] = []

    def init(**options: Any) -> None:
        calls.append(options["address"])
        if calls.count("local") <= slow_starts:
            raise Exception(SLOW)

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: calls.append("shutdown"))
    cluster._start("local", None)
    assert calls == ["local", "shutdown"] * slow_starts + ["local"]


def test_one_that_never_starts_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: Any) -> None:
        raise Exception(SLOW)

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with pytest.raises(Fatal, match="did not start in 5 tries"):
        cluster._start("local", None)


def test_what_a_failed_start_left_running_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    own = subprocess.Popen(["sleep", "600"])
    left: list[subprocess.Popen[bytes]] = []

    def init(**_: Any) -> None:
        if not left:
            left.append(subprocess.Popen(["sleep", "600"]))
            raise Exception(SLOW)

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    try:
        cluster._start("local", None)
        assert left[0].wait(10) < 0
        assert own.poll() is None
    finally:
        own.kill()
