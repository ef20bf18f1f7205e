"""How many rows an object holds, found out in a process of its own: it is asked where decoding it has killed a worker."""

from __future__ import annotations

import contextlib
from multiprocessing import get_context
from multiprocessing.connection import Connection

from stream_infer.connectors.files.reader import Described, FilesReader
from stream_infer.errors import Retryable

_SECONDS = 600.0  # then it counts as one record


def count_apart(reader: FilesReader, item: Described) -> int:
    """Rows of the object, rejected ones included; 1 when it cannot be read, or kills or holds up who reads it.

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


def _count(reader: FilesReader, item: Described, sender: Connection) -> None:
    try:
        sender.send(reader.count_rows(item))
    except Retryable as error:
        sender.send(error)
