"""A model of numbers that misbehaves on demand, for tests of the driver with the doubles of `stream_infer.testing`."""

from __future__ import annotations

import os
import re
import resource
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from stream_infer.errors import RejectRecord


class Moody:
    """Squares numbers; raises on some, kills its process on others, hangs or exhausts its memory on yet others."""

    def __init__(
        self,
        raising: Sequence[int] = (),
        killing: Sequence[int] = (),
        hanging: Sequence[int] = (),
        hungry: Sequence[int] = (),
        **_: object,
    ) -> None:
        self._raising = set(raising)
        self._killing = set(killing)
        self._hanging = set(hanging)
        self._hungry = set(hungry)

    def prepare(self, records: pa.Table) -> pa.Table:
        if self._hungry & set(records.column("number").to_pylist()):
            with _little_memory():
                bytearray(2**34)
        return records

    def infer(self, batch: pa.Table) -> dict[str, list[int]]:
        numbers = batch.column("number").to_pylist()
        if self._killing & set(numbers):
            os.kill(os.getpid(), signal.SIGKILL)
        if self._hanging & set(numbers):
            re.match(r"(a+)+$", "a" * 60 + "b")  # for years, and without ever letting go of the interpreter
        for number in numbers:
            if number in self._raising:
                raise RejectRecord(f"{number} is not liked", reason="moody")
        return {"square": [number * number for number in numbers]}


@contextmanager
def _little_memory() -> Iterator[None]:
    """This process may have 1 GiB more address space than it has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**30, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
