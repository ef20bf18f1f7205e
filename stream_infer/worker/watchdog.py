"""The watchdog of a worker: ends its process when one try of a step takes too long."""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2  # by number: what Ray puts in place of sys.stderr may be no file


@contextmanager
def watched(seconds: float | None) -> Iterator[None]:
    """End this process if the block takes longer than ``seconds``; None waits for ever. One block at a time.

    The clock runs in a thread of the C library, not of Python: a hanging regular expression or kernel call never lets
    go of the interpreter, and a thread that needs it would hang as well. Where each thread stood goes to stderr, which
    Ray keeps in the worker's log.
    """
    if seconds is None:
        yield
        return
    faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
