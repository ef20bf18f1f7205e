"""The contracts of the outputs: sinks of rows, and targets of dead letters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import pyarrow as pa

from stream_infer.rejects import DeadLetter
from stream_infer.splits import Receipt, Split


class Sink(Protocol):
    """Worker side, and the driver's for adoption; create-if-absent is its whole secret."""

    def write(self, split: Split, rows: pa.Table, receipt: Receipt) -> Receipt:
        """Create the split's file with the receipt inside, or adopt the receipt of the file that stands there.

        Raises:
            Retryable: the outcome is unknown or the store failed; call again with the same split.
        """
        ...

    def find(self, split: Split) -> Receipt | None:
        """The receipt in the split's file if it stands, else None."""
        ...

    def retire(self, split: Split) -> Receipt | None:
        """Take the split's name with an empty file; a receipt if a real file stood there already."""
        ...

    def files(self, folder: str) -> Iterator[tuple[str, str]]:
        """(split id, file relative to the root) of every file in a partition folder, ``""`` for all; by name alone."""
        ...

    def receipt_of(self, file: str) -> Receipt | None:
        """The receipt in one file, None where it is gone or not ours."""
        ...

    def receipts(self) -> Iterator[Receipt]:
        """Every receipt under the sink's root, by plain listing (audit, rebuild)."""
        ...


class RejectTarget(Protocol):
    """Driver side: a destination outside the ledger for dead letters, each published after it is committed.

    Attributes:
        name: kind and location, without secrets; the ledger keeps under it how far the target has been published to.
        originals: most bytes of each original's value; 0 where the target needs no originals, and none is fetched.
    """

    @property
    def name(self) -> str: ...

    @property
    def originals(self) -> int: ...

    def publish(self, letters: Sequence[DeadLetter]) -> None:
        """Durable when it returns. Called again with the same after a failure; all of a split's come in one call.

        Raises:
            Retryable: the outside world did not answer; some of the letters may have arrived.
        """
        ...

    def close(self) -> None:
        """Release clients. Safe to call twice."""
        ...
