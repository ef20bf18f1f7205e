"""The number of rows of an object, counted in a process of its own: decoding the object has killed a worker."""

from __future__ import annotations

import contextlib
from multiprocessing import get_context
from multiprocessing.connection import Connection

from stream_infer.bounds import ObjectRef
from stream_infer.contracts import ObjectReader
from stream_infer.errors import Retryable

_SECONDS = 600.0  # an object that takes longer counts as one record


def count_apart(reader: ObjectReader, item: ObjectRef) -> int:
    """Rows of the object, rejected ones included; 1 when it cannot be read, or kills or blocks the process that reads it.

    Raises:
        Retryable: the store did not answer.
    """
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_count, args=(reader, item, sender), name="count", daemon=True)
    process.start()
    sender.close()
    answer: int | Retryable = 1
    try:
        with contextlib.suppress(EOFError):
            if receiver.poll(_SECONDS):
                answer = receiver.recv()
    finally:
        process.kill()
        process.join()
        receiver.close()
    if isinstance(answer, Retryable):
        raise answer
    return answer


def _count(reader: ObjectReader, item: ObjectRef, sender: Connection) -> None:
    try:
        sender.send(reader.count_rows(item))
    except Retryable as error:
        sender.send(error)
