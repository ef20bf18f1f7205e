"""The seams: what a source, a reader, a sink and a model promise. Policies wrap them; nothing registers itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from stream_infer.intervals import Intervals
from stream_infer.rejects import Original, Told
from stream_infer.splits import Loss, Receipt, Reject, Split

if TYPE_CHECKING:  # the settings import the contracts of the plugins
    from stream_infer.config import Batch

ORIGINS: Final = 512  # producers' spans that are kept of one split: they travel with it
NO_ROWS: Final = pa.table({})


@dataclass(frozen=True, slots=True)
class PlanBudget:
    """How much may be planned now.

    Attributes:
        splits: most splits to yield; with 0 a source only looks what there is.
        records / bytes: most of either in one split.
        record_bytes: size of a record as learned so far, for sources that do not know it.
        freshness: seconds a record may wait to share a split with others; 0 plans at once.
        now: seconds since the epoch, for folders and freshness.
        date_by: ``plan`` or ``event``: which date names the output folder.
    """

    splits: int
    records: int
    bytes: int
    freshness: float
    now: float
    date_by: str = "plan"
    record_bytes: float = 1024.0


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """Identity of one version of one object, claimed by the split that reads it.

    Attributes:
        object_id: coordinate without the row, `records.ObjectCoordinate.object_id`.
    """

    object_id: str
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class Planned:
    """One step of a plan. The caller stores all of it in one transaction before the split is dispatched.

    Attributes:
        split: new work, or None when the step only moves positions or names losses.
        positions: the NEXT position by position key, as it stands once this step is stored.
        objects: the object versions the split claims.
        losses: records that were gone before they could be planned.
    """

    split: Split | None
    positions: Mapping[str, Any] = field(default_factory=dict)
    objects: tuple[ObjectVersion, ...] = ()
    losses: tuple[Loss, ...] = ()


class Position(Protocol):
    """What the ledger already knows of a source; read only."""

    def get(self, key: str) -> Any | None:
        """The next position under a key (JSON value), or None where nothing was planned yet."""
        ...

    def unseen(self, object_ids: Sequence[str]) -> set[str]:
        """Those of the object versions that no split has claimed."""
        ...


@dataclass(frozen=True, slots=True)
class Lag:
    """What a source knows to be waiting beyond its planned position.

    Attributes:
        records / bytes: not yet planned, as far as is known.
        oldest: event time of the oldest of them, seconds since the epoch.
        unsettled: inputs seen but not yet plannable (a file still being written).
        objects: how many objects the records stand in, for a source that knows objects.
        by_key: records waiting by position key (a Kafka partition, say).
    """

    records: int = 0
    bytes: int = 0
    oldest: float | None = None
    unsettled: int = 0
    objects: int = 0
    by_key: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One partition of a log that a source reads.

    Attributes:
        position: end of its contiguous committed prefix.
        end: next offset that a record would take, as of the last look.
        oldest: event time of the record at the position, seconds since the epoch, to within a few seconds of reading;
            None where none waits or it is not known yet.
    """

    topic: str
    partition: str
    position: int
    end: int
    oldest: float | None = None


class Source(Protocol):
    """Driver side: finds new work and cuts it into splits.

    Called from one thread, except `wake`, `bisect` and `record_ids`.
    """

    name: str

    def plan(self, position: Position, budget: PlanBudget) -> Iterator[Planned]:
        """New work only, oldest first.

        The caller stores a step without a split before it asks for the next; steps with a split it may store in
        groups. Steps it took and did not store are new work again after a restart.

        Raises:
            Retryable: the outside world did not answer; call again later.
            Fatal: a person must act (topic recreated, prefix not allowed, …).
        """
        ...

    def wait(self, timeout: float) -> None:
        """Return when new work may be there, or after ``timeout`` seconds. Never spins."""
        ...

    def wake(self) -> None:
        """Make a running `wait` return now."""
        ...

    def lag(self, position: Position) -> Lag:
        """What is waiting, as of the last look."""
        ...

    def places(self, prefix: Mapping[str, int]) -> Sequence[PartitionStatus]:
        """Partitions of the logs it reads, none where it reads no log. Called about once a second; asks nobody.

        ``prefix`` is as for `committed`.
        """
        ...

    def attributes(self, split: Split) -> Mapping[str, str | int]:
        """What the split reads, in the words of OpenTelemetry's semantic conventions, for its span."""
        ...

    def reader(self) -> Reader:
        """A picklable reader for the workers."""
        ...

    def bisect(self, split: Split) -> tuple[Split, Split] | None:
        """Two halves that together cover the split, or None when it holds one record."""
        ...

    def record_ids(self, split: Split) -> Iterator[str]:
        """Coordinates a split of one record may hold (used to reject it unread)."""
        ...

    def replay(self, split: Split, reject: Reject, number: int) -> Split:
        """A split that reads one rejected record of ``split`` again: its bounds say so as ``replay: number``.

        Its identity follows from the record and the number, and is no other split's.
        """
        ...

    def intervals(self, split: Split) -> Intervals:
        """What the split reads, as ranges by key (a partition's offsets, an object's rows); two splits with nothing
        in common have ranges with nothing in common."""
        ...

    def restore(self, splits: Sequence[Split], most: int) -> Iterator[Planned]:
        """The steps that tell a new ledger what an old one knew, when these splits are all that is left of it.

        Each of them as it was planned; then splits, of at most ``most`` records where that can be told, for what
        lies between them, wherever no plan would find it again; then the positions behind them.

        Raises:
            Retryable: the outside world did not answer; call again later.
        """
        ...

    def committed(self, splits: Sequence[Split], prefix: Mapping[str, int]) -> None:
        """After the ledger says so; idempotent.

        ``prefix`` is the end of the contiguous committed prefix by position key.
        """
        ...

    def close(self) -> None:
        """Release clients. Safe to call twice."""
        ...


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
        """A rejected record of the split as it came in; at most ``most`` bytes of its value, and then it says so.

        Raises:
            Retryable: the store or broker did not answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class Inferred:
    """The answers of a model to one prepared table.

    Attributes:
        columns: the model's columns for the good rows, in the order of the input.
        rejects: (row index, error) of the rows that failed alone, by index.
        batches: micro-batches that gave rows.
        cost: cost of the good rows, in the model's units.
        padding: share of the paid cost that was padding, 0 … 1, over those batches.
        kept: indices of the rows in ``columns``, ascending, shape (columns.num_rows,).
    """

    columns: pa.Table
    rejects: Sequence[tuple[int, Exception]]
    batches: int
    cost: float
    padding: float
    kept: np.ndarray


class Model(Protocol):
    """A model, in two halves: `warm` and `prepare` run in CPU actors, `load` and `run` where the devices are.

    Picklable until `warm` or `load`. `models.batching.BatchedModel` implements `run` by micro-batches for a model that
    has ``cost(prepared)`` and ``infer(batch)``.
    """

    def warm(self) -> None:
        """Load what `prepare` needs (a tokenizer, an image processor); once per CPU actor."""
        ...

    def prepare(self, records: pa.Table) -> pa.Table:
        """The records with model inputs added (tokens, pixels): same rows, same order.

        Raises:
            RejectRecord: when given one row that cannot be prepared; with more rows the caller tries them one by one.
        """
        ...

    def load(self, devices: Sequence[str]) -> None:
        """Load the weights onto the devices, ``cpu`` or one or more ``cuda:N``; once per replica, before `run`."""
        ...

    def run(self, prepared: pa.Table, budget: Batch) -> Inferred:
        """The answers to the prepared rows; a row that fails alone is a reject.

        Args:
            budget: most rows and most cost that are computed together.

        Raises:
            Retryable, Fatal: these say nothing about a row.
            Exception: a device error that leaves the process unusable; a new process starts.
        """
        ...

    @property
    def identity(self) -> str:
        """``name@digest`` of what made the rows, for the column ``model``; the digest covers weights and code settings."""
        ...

    @property
    def reads(self) -> frozenset[str] | None:
        """Columns of a prepared table that `run` reads; None: any. The others do not travel to the device."""
        ...

    @property
    def weights(self) -> int | None:
        """Bytes of weights per replica, for the number of replicas; None where that is unknown before `load`."""
        ...


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
    """Driver side: a place outside the ledger that is told of each rejection, after it is committed.

    Attributes:
        name: kind and place, without secrets; the ledger remembers under it how far the target has been told.
        originals: bytes of each original's value that it wants; 0 for none, and then none is fetched.
    """

    @property
    def name(self) -> str: ...

    @property
    def originals(self) -> int: ...

    def publish(self, told: Sequence[Told]) -> None:
        """Durable when it returns. Called again with the same after a failure; all of a split's come in one call.

        Raises:
            Retryable: the outside world did not answer; nothing is known of what it took.
        """
        ...

    def close(self) -> None:
        """Release clients. Safe to call twice."""
        ...


@runtime_checkable
class TablePreprocessor(Protocol):
    """User code before the model: a table of records in, a table with the same rows out."""

    def __call__(self, records: pa.Table) -> pa.Table: ...
