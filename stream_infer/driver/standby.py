"""Two instances of one ledger: the owner's heartbeat, and the standby that takes over when the heartbeat stops.

No clocks are compared. The owner increments a count in the ledger; a standby measures by its own clock how long the count
did not change. A wrong verdict is harmless: the fence lets only the newest epoch write.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stream_infer.errors import Fenced, Retryable
from stream_infer.ledger import Ledger, Pulse

log = logging.getLogger(__name__)
BEAT_SECONDS = 3.0
LEASE_SECONDS = 15.0  # without a heartbeat until the owner counts as dead: a slow transaction must not look so
LOOK_SECONDS = 0.5


@contextmanager
def owning(ledger: Ledger) -> Iterator[None]:
    """Write heartbeats while the block runs; release the ledger after it."""
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(ledger, ended), name="heartbeat", daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        if ledger.fenced is None:
            try:
                ledger.release()
            except (Retryable, Fenced) as error:  # a standby waits a little longer
                log.debug("the ledger is not released: %s", error)


def _beat(ledger: Ledger, ended: threading.Event) -> None:
    while ledger.fenced is None and not ended.wait(BEAT_SECONDS):
        try:
            ledger.beat()
        except Retryable as error:  # the committer and the planners wait for the database and report it
            log.debug("no heartbeat: %s", error)
        except Fenced:  # the supervisor sees `Ledger.fenced`
            return


class Standby:
    """Takes the ledger over when its owner has ended or is dead.

    Args:
        name: of this instance, stored in the ledger as its owner.
        wait: sleeps for so many seconds; True when the service stops.
        clock: seconds, monotonic.
    """

    def __init__(
        self, ledger: Ledger, name: str, wait: Callable[[float], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ledger = ledger
        self._name = name
        self._wait = wait
        self._clock = clock

    def take(self) -> bool:
        """Wait until this instance owns the ledger; False if the service stops before."""
        last: Pulse | None = None
        silent, last_look = 0.0, self._clock()
        while True:
            pulse = self._look()
            now = self._clock()
            if pulse is None or pulse != last:
                if pulse is not None and (last is None or pulse.owner != last.owner):
                    log.info("standby: %s owns the ledger", pulse.owner or "nobody")
                last, silent = pulse, 0.0
            else:
                # A late look does not count in full: perhaps the whole machine, the owner included, was suspended.
                silent += min(now - last_look, 2 * LOOK_SECONDS)
            last_look = now
            if last is not None and (not last.owner or silent >= LEASE_SECONDS) and self._take_over(last, silent):
                return True
            if self._wait(LOOK_SECONDS):
                return False

    def _look(self) -> Pulse | None:
        try:
            return self._ledger.pulse()
        except Retryable as error:
            log.warning("standby: %s", error)
            return None

    def _take_over(self, last: Pulse, silent: float) -> bool:
        try:
            taken = self._ledger.take_over(self._name, last)
        except Retryable as error:
            log.warning("standby: %s", error)
            return False
        if taken:
            why = f"{last.owner} was silent for {silent:.0f} s" if last.owner else "nobody owned it"
            log.info("standby: took over the ledger: %s", why)
        return taken
