"""The watchdog of a worker: ends its process when one try of a stage takes too long."""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2  # the file descriptor, because Ray may replace sys.stderr by an object that is no file


@contextmanager
def watched(seconds: float | None) -> Iterator[None]:
    """End this process if the block takes longer than ``seconds``; None: no limit. One block at a time.

    The clock runs in a thread of C code: a hanging regular expression or kernel call never releases the interpreter, and a
    Python thread would hang as well. The stack of each thread goes to stderr, which Ray keeps in the worker's log.
    """
    if seconds is None:
        yield
        return
    faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
