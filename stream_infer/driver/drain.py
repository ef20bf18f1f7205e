"""How long a service that is about to end waits for a dependency that is away."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

log = logging.getLogger(__name__)
_AWAY_SECONDS = 10.0
_LOOK_SECONDS = 0.2


def await_end(
    join: Callable[[float], object],
    ended: Callable[[], bool],
    waits_for: Callable[[], str | None],
    give_up: Callable[[], object],
    timeout: float = math.inf,
) -> str | None:
    """Wait for an end, but not for a dependency: what waits for one is safe in the ledger.

    Args:
        join: waits for the end, at most so many seconds.
        waits_for: the dependency failure that is being waited out now.
        give_up: called once, when there was one without a break for ten seconds; the end must come soon then.
        timeout: seconds after which nobody waits any more.

    Returns:
        What was waited for in vain.
    """
    given_up: str | None = None
    calm_at = started = time.monotonic()
    while not ended() and time.monotonic() - started < timeout:
        join(_LOOK_SECONDS)
        why = waits_for()
        if why is None:
            calm_at = time.monotonic()
        elif given_up is None and time.monotonic() - calm_at > _AWAY_SECONDS:
            given_up = why
            log.warning("what waits stays planned, so that the service can end: %s", why)
            give_up()
    return given_up
