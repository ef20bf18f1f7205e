"""Retry policies: pauses within their bounds, every failure reported, an end when asked for."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer import retry
from stream_infer.errors import Fatal, Retryable
from stream_infer.retry import Backoff

POLICIES = (retry.PLAN, retry.WORK, retry.EXECUTION, retry.PUBLISH)


class Flaky:
    """A call that fails so many times, then answers with the number of its calls."""

    def __init__(self, failures: int) -> None:
        self.calls = 0
        self._failures = failures

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self._failures:
            raise Retryable(f"failure {self.calls}", dependency="store")
        return self.calls


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses, in seconds, that would have been slept."""
    seconds: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", seconds.append)
    return seconds


@given(policy=st.sampled_from(POLICIES), failures=st.integers(1, 10_000))
def test_a_pause_is_half_to_all_of_the_doubled_time_and_never_above_the_longest(policy: Backoff, failures: int) -> None:
    doubled = min(policy.longest, policy.first * 2.0 ** min(failures - 1, 20))
    whole = min(doubled, policy.first * 2.0**7)
    assert whole / 2 <= policy.pause(failures) <= whole


@pytest.mark.parametrize("policy", POLICIES)
def test_a_dependency_is_waited_out_and_each_failure_is_reported(policy: Backoff, pauses: list[float]) -> None:
    reported: list[str] = []
    assert policy.wait_out(Flaky(12), on_failure=lambda error: reported.append(str(error))) == 13
    assert reported == [f"failure {number}" for number in range(1, 13)]
    for number, pause in enumerate(pauses):
        least = min(policy.longest, policy.first * 2**number)
        assert least <= pause <= min(policy.longest, least + 1)
    assert len(set(pauses[:4])) == 4  # jitter


def test_a_set_event_ends_the_waiting_with_the_last_failure() -> None:
    stop, call = threading.Event(), Flaky(100)

    def report(error: Retryable) -> None:
        if str(error) == "failure 1":
            stop.set()  # during the first pause, as far as the waiting can tell: it pauses no more and tries once

    with pytest.raises(Retryable, match="failure 2"):
        Backoff(first=3600.0, longest=3600.0).wait_out(call, on_failure=report, stop=stop)
    assert call.calls == 2


def test_the_report_may_end_the_waiting(pauses: list[float]) -> None:
    def report(error: Retryable) -> None:
        raise error

    with pytest.raises(Retryable, match="failure 1"):
        retry.WORK.wait_out(Flaky(100), on_failure=report)
    assert not pauses


def test_any_other_error_is_not_tried_again() -> None:
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        raise Fatal("a person must act")

    with pytest.raises(Fatal, match="a person must act"):
        retry.PLAN.wait_out(call, on_failure=lambda _: None)
    assert calls == [1]
