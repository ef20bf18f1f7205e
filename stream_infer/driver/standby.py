"""Two instances, one ledger: the owner shows that it lives, a standby waits until it does not.

Nobody compares clocks. The owner counts up in the ledger; a standby looks, by its own clock alone, whether the count
still moves. Whoever is wrong about the other is harmless: the fence lets only the newest epoch write.
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
LEASE_SECONDS = 15.0  # without a beat, after which the owner counts as gone: a slow transaction is no death
LOOK_SECONDS = 0.5


@contextmanager
def owning(ledger: Ledger) -> Iterator[None]:
    """While the block runs the ledger shows that its owner lives; after it, that nobody owns it."""
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
        except Retryable as error:  # whoever has something to write waits it out and says so
            log.debug("no heartbeat: %s", error)
        except Fenced:  # the supervisor sees `Ledger.fenced`
            return


class Standby:
    """Takes the ledger when its owner is gone.

    Args:
        name: this instance, as the ledger shows it.
        wait: sleeps so many seconds; True when told to stop.
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
        """Return True once this instance owns the ledger, False when told to stop first."""
        last: Pulse | None = None
        silent, looked = 0.0, self._clock()
        while True:
            pulse = self._look()
            now = self._clock()
            if pulse is None or pulse != last:
                if pulse is not None and (last is None or pulse.owner != last.owner):
                    log.info("standby: %s owns the ledger", pulse.owner or "nobody")
                last, silent = pulse, 0.0
            else:
                # A look that came late says nothing of the time between: perhaps the owner was stopped as we were.
                silent += min(now - looked, 2 * LOOK_SECONDS)
            looked = now
            if last is not None and (not last.owner or silent >= LEASE_SECONDS) and self._succeed(last, silent):
                return True
            if self._wait(LOOK_SECONDS):
                return False

    def _look(self) -> Pulse | None:
        try:
            return self._ledger.pulse()
        except Retryable as error:
            log.warning("standby: %s", error)
            return None

    def _succeed(self, last: Pulse, silent: float) -> bool:
        try:
            taken = self._ledger.take_over(self._name, last)
        except Retryable as error:
            log.warning("standby: %s", error)
            return False
        if taken:
            why = f"{last.owner} was silent for {silent:.0f} s" if last.owner else "nobody owned it"
            log.info("standby: took over the ledger: %s", why)
        return taken
