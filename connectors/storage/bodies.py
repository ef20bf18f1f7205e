"""Where the bodies of obstore's answers come to lie."""

from __future__ import annotations

import time
from typing import Any

import pyarrow as pa

# Below it obstore's own memory will do. Above, it would gather the pieces and then copy them into fresh memory, whose first
# touch costs more than the copy; Arrow's pool hands out what earlier objects have left.
_GATHERED = 256 * 2**10
_CHUNK = 2**20


def body(answer: Any) -> memoryview:
    """The whole body of a GET. Raises ValueError when another number of bytes came than the answer's head said."""
    start, stop = answer.range
    if stop - start < _GATHERED:
        content = memoryview(answer.bytes())
        if len(content) != stop - start:
            raise ValueError(f"{len(content)} of {stop - start} bytes came")
        return content
    content = fresh(stop - start)
    pour(answer, content)
    return content


def pour(answer: Any, into: memoryview, least: float = 0.0, judged: int = 0) -> int:
    """Put the body of a GET there, and say how many bytes came.

    Args:
        least: bytes per second; a body that came slower than that is left where it stands once ``judged`` bytes are there.

    Raises:
        ValueError: it does not fill it, or overflows it.
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
    """So many bytes to be filled."""
    return memoryview(pa.allocate_buffer(size)).cast("B")
