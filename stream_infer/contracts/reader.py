"""The contract of readers: the records of a split, in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

import pyarrow as pa

from stream_infer.bounds import ObjectRef
from stream_infer.rejects import Original
from stream_infer.splits import Loss, Reject, Split

ORIGINS: Final = 512  # most producers' spans of one split: they travel with it
NO_ROWS: Final = pa.table({})


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of a split's records, as a reader yields them, with the records that did not become rows.

    Attributes:
        table: `records.RECORD_FIELDS`, then content columns.
        rejects: records that could not be decoded.
        losses: records that are gone.
        bytes: input content that was read.
        origins: W3C ``traceparent`` of the records' producers, in order, without repetition of neighbours.
    """

    table: pa.Table = field(default_factory=lambda: NO_ROWS)
    rejects: tuple[Reject, ...] = ()
    losses: tuple[Loss, ...] = ()
    bytes: int = 0
    origins: tuple[str, ...] = ()


def joined(pieces: Sequence[Piece]) -> Piece:
    """One piece with everything that the pieces hold, in order."""
    tables = [piece.table for piece in pieces if piece.table.num_columns]
    origins: list[str] = []
    for piece in pieces:
        repeated = bool(origins) and piece.origins[:1] == (origins[-1],)
        origins += piece.origins[repeated:]
    return Piece(
        pa.concat_tables(tables, promote_options="permissive") if tables else NO_ROWS,
        tuple(reject for piece in pieces for reject in piece.rejects),
        tuple(loss for piece in pieces for loss in piece.losses),
        sum(piece.bytes for piece in pieces),
        tuple(origins),
    )


class Reader(Protocol):
    """Worker side; lives as long as its actor and keeps its clients open between splits."""

    def read(self, split: Split) -> Iterator[Piece]:
        """Yield everything that the split holds. Pieces count only once the iterator has ended without an error.

        Raises:
            Retryable: the store or broker did not answer; the pieces yielded before are void.
        """
        ...

    def original(self, split: Split, reject: Reject, most: int) -> Original:
        """A rejected record of the split as it came in; its value cut to ``most`` bytes, which `Original` then says.

        Raises:
            Retryable: the store or broker did not answer.
        """
        ...


@runtime_checkable
class ObjectReader(Reader, Protocol):
    """A reader of `bounds.ObjectSet`: it knows the objects' location, and can count the rows of one."""

    @property
    def location(self) -> str:
        """``SCHEME://BUCKET``, the beginning of its records' coordinates."""
        ...

    def one_record(self, key: str) -> bool:
        """Whether the object of a key is exactly one record, whatever its content: such an object is not divided."""
        ...

    def count_rows(self, item: ObjectRef) -> int:
        """How many records an object holds, rejected ones included; 1 when it cannot be read.

        Called in a process of its own: decoding the object may have killed a worker.

        Raises:
            Retryable: the store did not answer.
        """
        ...


def location_of(reader: Reader) -> str:
    """``SCHEME://BUCKET`` of a reader of objects; empty for a reader of a log, whose bounds name the log."""
    return reader.location if isinstance(reader, ObjectReader) else ""
