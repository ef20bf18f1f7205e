"""A standby takes the ledger when its owner is gone and not before, whatever the clocks say; one of several does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from stream_infer.driver import standby
from stream_infer.driver.standby import LEASE_SECONDS, LOOK_SECONDS, Standby, owning
from stream_infer.errors import Fenced, Retryable
from stream_infer.ledger import Ledger, Pulse


class Hours:
    """A standby's clock, and what the world does while it sleeps.

    Args:
        seconds: after which it is told to stop.
        meanwhile: called with the time at each sleep.
    """

    def __init__(self, seconds: float, meanwhile: Callable[[float], object] = lambda _now: None) -> None:
        self.now, self._end, self._meanwhile = 0.0, seconds, meanwhile

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        self._meanwhile(self.now)
        return self.now > self._end

    def clock(self) -> float:
        return self.now


def _standby(url: str, hours: Hours, name: str = "standby") -> Standby:
    return Standby(Ledger.open(url, {}), name, hours.wait, hours.clock)


def _owner(url: str) -> Ledger:
    ledger = Ledger.open(url, {})
    ledger.acquire("owner")
    return ledger


def test_nobody_waits_for_a_ledger_that_nobody_owns(url: str) -> None:
    hours = Hours(10)
    assert _standby(url, hours).take()
    assert hours.now == 0


def test_a_released_ledger_is_taken_at_once_and_the_old_owner_is_fenced(url: str) -> None:
    owner = _owner(url)
    owner.beat()
    owner.release()
    hours = Hours(10)
    assert _standby(url, hours).take()
    assert hours.now == 0
    with pytest.raises(Fenced, match="belongs to standby"):
        owner.beat()
    assert owner.fenced is not None


@pytest.mark.parametrize("skew", [0.0, 3600.0, -3600.0])
def test_a_living_owner_keeps_the_ledger_whatever_its_clock_says(
    url: str, skew: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time
    monkeypatch.setattr("stream_infer.ledger.store.time.time", lambda: real() + skew)
    owner = _owner(url)
    beaten = [0.0]

    def beat(now: float) -> None:
        if now < 120 and now - beaten[0] >= standby.BEAT_SECONDS:
            beaten[0] = now
            owner.beat()

    hours = Hours(600, beat)
    assert _standby(url, hours).take()
    silent = hours.now - beaten[0]
    assert LEASE_SECONDS <= silent <= LEASE_SECONDS + 3 * LOOK_SECONDS
    assert owner.pulse().owner == "standby"
    with pytest.raises(Fenced):
        owner.beat()


def test_a_standby_that_was_stopped_itself_does_not_take_the_pause_for_silence(url: str) -> None:
    _owner(url)
    hours = Hours(7200)
    jumped: list[float] = []

    def jump(now: float) -> None:
        if now > 5 and not jumped:
            jumped.append(now)
            hours.now += 3600

    hours._meanwhile = jump
    assert _standby(url, hours).take()
    assert hours.now >= 3600 + LEASE_SECONDS - 2 * LOOK_SECONDS


def test_silence_of_the_database_is_not_silence_of_the_owner(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _owner(url)
    hours = Hours(600)
    real = Ledger.pulse

    def away(ledger: Ledger) -> object:
        if 5 < hours.now < 100:
            raise Retryable("away")
        return real(ledger)

    monkeypatch.setattr(Ledger, "pulse", away)
    assert _standby(url, hours).take()
    assert hours.now >= 100 + LEASE_SECONDS


def test_a_standby_told_to_stop_takes_nothing(url: str) -> None:
    owner = _owner(url)
    assert not _standby(url, Hours(5)).take()
    owner.beat()


def test_one_of_many_standbys_takes_over(new_url: Callable[[], str]) -> None:
    """20 races of four: all saw the same last pulse, and one transaction wins."""
    for _ in range(20):
        url = new_url()
        _owner(url).close()
        racers = [Ledger.open(url, {}) for _ in range(4)]
        last = racers[0].pulse()
        start = threading.Barrier(len(racers))

        with ThreadPoolExecutor(len(racers)) as pool:
            tries = [pool.submit(_race, start, ledger, f"racer {at}", last) for at, ledger in enumerate(racers)]
            won = [each.result() for each in tries]
        assert sum(won) == 1
        assert racers[0].pulse()[:2] == (f"racer {won.index(True)}", last.epoch + 1)
        racers[won.index(True)].beat()
        for ledger in racers:
            ledger.close()


def test_the_owner_beats_while_it_works_and_releases_when_it_ends(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standby, "BEAT_SECONDS", 0.01)
    owner = _owner(url)
    first = owner.pulse()
    with owning(owner):
        _until(lambda: owner.pulse().writes > first.writes + 3)
    assert owner.pulse().owner == ""


def test_an_owner_that_lost_the_ledger_notices_without_anything_to_write(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standby, "BEAT_SECONDS", 0.01)
    owner, other = _owner(url), Ledger.open(url, {})
    with owning(owner):
        other.acquire("other")
        _until(lambda: owner.fenced is not None)
    assert other.pulse().owner == "other"
    other.beat()


def _race(start: threading.Barrier, ledger: Ledger, name: str, last: Pulse) -> bool:
    start.wait()
    return ledger.take_over(name, last)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
