"""Starting Ray: its own processes may need more time than Ray gives them."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import ray

from stream_infer.errors import Fatal
from stream_infer.execution import cluster, ray_private

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
    cluster._start("local")
    assert calls == ["local", "shutdown"] * slow_starts + ["local"]


def test_one_that_never_starts_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: Any) -> None:
        raise Exception(SLOW)

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with pytest.raises(Fatal, match="did not start in 5 tries"):
        cluster._start("local")


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
        cluster._start("local")
        assert left[0].wait(10) < 0
        assert own.poll() is None
    finally:
        own.kill()


def test_a_named_cluster_is_shown_the_token_at_once_and_asked_for_no_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the token each try to join lasts until Ray gives up; with an environment no worker at hand would do."""
    calls: list[Any] = []
    monkeypatch.setattr(ray_private, "enable_token_auth", lambda **_: calls.append("token"), raising=False)
    monkeypatch.setattr(ray, "init", lambda **options: calls.append(options))
    cluster._join("10.0.0.1:6379")
    token, options = calls
    assert token == "token"
    assert options["address"] == "10.0.0.1:6379"
    assert options.get("runtime_env") is None
    assert "_system_config" not in options  # Ray refuses to join with one


def test_a_local_ray_keeps_no_record_of_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(ray, "init", lambda **options: given.append(options))
    cluster._start("local")
    assert given[0]["_system_config"] == {"task_events_report_interval_ms": 0}
