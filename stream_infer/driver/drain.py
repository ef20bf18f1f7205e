"""How long the end of a service waits for a dependency that does not answer."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

log = logging.getLogger(__name__)
_STALL_SECONDS = 10.0
_POLL_SECONDS = 0.2


def await_end(
    join: Callable[[float], object],
    ended: Callable[[], bool],
    stall: Callable[[], str | None],
    give_up: Callable[[], object],
    timeout: float = math.inf,
) -> str | None:
    """Wait until something has ended, but not for a dependency: splits that wait for one are safe in the ledger.

    Args:
        join: waits for the end, at most this many seconds.
        stall: returns the dependency failure that is waited out now, or None.
        give_up: called once, after ten seconds of stalls without a break; the end must follow soon.
        timeout: seconds after which the wait is over in any case.

    Returns:
        The dependency failure for which `give_up` was called, or None.
    """
    reason: str | None = None
    started_at = unstalled_at = time.monotonic()
    while not ended() and time.monotonic() - started_at < timeout:
        join(_POLL_SECONDS)
        failure = stall()
        if failure is None:
            unstalled_at = time.monotonic()
        elif reason is None and time.monotonic() - unstalled_at > _STALL_SECONDS:
            reason = failure
            log.warning("unfinished splits stay planned, so that the service can end: %s", reason)
            give_up()
    return reason
