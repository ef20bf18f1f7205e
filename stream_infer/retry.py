"""Retry policies: how long to pause after a failure, and how to wait out a dependency that fails.

The seams themselves (sources, sinks, the ledger, targets of rejects) never try again. Their callers wrap them here.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    nap,
    retry_if_exception_type,
    sleep_using_event,
    stop_never,
    stop_when_event_set,
    wait_exponential_jitter,
)

from stream_infer.errors import Retryable

T = TypeVar("T")

STORE_TRIES: Final = 4  # of a store's client for one request, before the caller sees the failure
STORE_SECONDS: Final = 60.0  # the longest that a store's client tries for one request


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double with each failure in a row.

    Jitter spreads the pauses, so that all who wait for one dependency do not return to it at once.

    Attributes:
        first: seconds of the first pause.
        longest: seconds that no pause exceeds.
    """

    first: float
    longest: float

    def pause(self, failures: int) -> float:
        """Seconds to pause after so many failures in a row, at least one: half to all of the doubled time."""
        return min(self.longest, self.first * 2.0 ** min(failures - 1, 7)) * random.uniform(0.5, 1.0)

    def wait_out(
        self,
        call: Callable[[], T],
        on_failure: Callable[[Retryable], object],
        stop: threading.Event | None = None,
    ) -> T:
        """Repeat the call until no dependency fails; return its result. Up to a second of jitter is added to each pause.

        Args:
            on_failure: reports each failure before the pause. An error that it raises ends the waiting.
            stop: ends the waiting, a running pause too. The call is then tried once more.

        Raises:
            Retryable: the last failure, once ``stop`` is set.
        """

        def report(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome is not None else None
            assert isinstance(error, Retryable)
            on_failure(error)

        return Retrying(
            retry=retry_if_exception_type(Retryable),
            wait=wait_exponential_jitter(multiplier=self.first, max=self.longest),
            stop=stop_never if stop is None else stop_when_event_set(stop),
            sleep=nap.sleep if stop is None else sleep_using_event(stop),
            before_sleep=report,
            reraise=True,
        )(call)


PLAN: Final = Backoff(first=0.2, longest=15.0)  # planning and the start: a source, a store or the ledger is away
WORK: Final = Backoff(first=0.1, longest=15.0)  # work in flight: the read, write or commit of a split fails
EXECUTION: Final = Backoff(first=1.0, longest=60.0)  # an execution did not start, or ended by itself
PUBLISH: Final = Backoff(first=1.0, longest=30.0)  # a target of rejects fails
