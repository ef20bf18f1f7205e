"""Bodies of obstore's answers, read into memory of Arrow's pool."""

from __future__ import annotations

import time
from typing import Any

import pyarrow as pa

# obstore collects the chunks of a body and copies them into fresh memory, whose first use costs more than the copy. From this
# size on a body goes into memory of Arrow's pool, which earlier objects have used already.
_POOLED = 256 * 2**10
_CHUNK = 2**20


def body(answer: Any) -> memoryview:
    """The whole body of a GET. Raises ValueError if its size is not the one in the answer's head."""
    start, stop = answer.range
    if stop - start < _POOLED:
        content = memoryview(answer.bytes())
        if len(content) != stop - start:
            raise ValueError(f"{len(content)} of {stop - start} bytes came")
        return content
    content = fresh(stop - start)
    pour(answer, content)
    return content


def pour(answer: Any, into: memoryview, least: float = 0.0, judged: int = 0) -> int:
    """Copy the body of a GET into the memory; returns the number of copied bytes.

    Args:
        least: bytes per second; a slower body is abandoned once ``judged`` bytes are copied.

    Raises:
        ValueError: the body is smaller or larger than the memory.
    """
    started = time.monotonic()
    at = 0
    for chunk in answer.stream(min_chunk_size=_CHUNK):
        end = at + len(chunk)
        if end > len(into):
            raise ValueError(f"more than {len(into)} bytes came")
        into[at:end] = memoryview(chunk).cast("B")
        if at < judged <= end and end < least * (time.monotonic() - started):
            return end
        at = end
    if at != len(into):
        raise ValueError(f"{at} of {len(into)} bytes came")
    return at


def fresh(size: int) -> memoryview:
    """Writable memory of this size from Arrow's pool, not initialised."""
    return memoryview(pa.allocate_buffer(size)).cast("B")
