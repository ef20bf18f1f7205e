"""The seams: contracts of sources, readers, sinks and models. Policies wrap them; nothing registers itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from stream_infer.bounds import ObjectRef
from stream_infer.rejects import DeadLetter, Original
from stream_infer.splits import Loss, Receipt, Reject, Split

if TYPE_CHECKING:  # the settings import the contracts of the plugins
    from stream_infer.config import Batch

ORIGINS: Final = 512  # most producers' spans of one split: they travel with it
NO_ROWS: Final = pa.table({})


@dataclass(frozen=True, slots=True)
class PlanBudget:
    """How much may be planned now.

    Attributes:
        splits: most splits to yield; with 0 a source only brings its status up to date.
        records / bytes: most of either in one split.
        record_bytes: mean size of a record so far, for sources that do not know sizes.
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
    """One version of one object, claimed by the split that reads it.

    Attributes:
        object_id: coordinate without the row, `records.ObjectCoordinate.object_id`.
    """

    object_id: str
    size: int
    modified: float


@dataclass(frozen=True, slots=True)
class Planned:
    """One element of a plan. The caller stores all of it in one transaction before the split is dispatched.

    Attributes:
        split: new work, or None when the element only moves positions or names losses.
        positions: the NEXT position by position key, once this element is stored.
        objects: the object versions that the split claims.
        losses: records that were gone before they could be planned.
    """

    split: Split | None
    positions: Mapping[str, Any] = field(default_factory=dict)
    objects: tuple[ObjectVersion, ...] = ()
    losses: tuple[Loss, ...] = ()


class Position(Protocol):
    """The ledger's state of a source; read only."""

    def get(self, key: str) -> Any | None:
        """The next position under a key (JSON value), or None where nothing was planned yet."""
        ...

    def unseen(self, object_ids: Sequence[str]) -> set[str]:
        """Those of the object versions that no split has claimed."""
        ...


@dataclass(frozen=True, slots=True)
class Lag:
    """Input beyond the planned position of a source.

    Attributes:
        records / bytes: not yet planned, as far as the source has seen them.
        oldest: event time of the oldest of them, seconds since the epoch.
        unsettled: inputs that are not plannable yet (a file still being written).
        objects: number of objects that hold the records, for a source of objects.
        by_key: records by position key (a Kafka partition, say).
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
        position: committed offset: the end of the contiguous final range.
        end: next offset that a record would take, as of the last plan.
        oldest: event time of the record at the position, seconds since the epoch, to within a few seconds of reading;
            None where no record is there or its time has not been read yet.
    """

    topic: str
    partition: str
    position: int
    end: int
    oldest: float | None = None


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """A source as of its last plan.

    Attributes:
        partitions: of the logs that it reads; none where it reads no log.
        attributes: facts for the spans of all its splits, in the words of OpenTelemetry's semantic conventions. The
            facts of one split follow from its bounds.
    """

    lag: Lag = field(default_factory=Lag)
    partitions: Sequence[PartitionStatus] = ()
    attributes: Mapping[str, str | int] = field(default_factory=dict)


class Source(Protocol):
    """Driver side: looks for new work and cuts it into splits.

    Called from one thread, except `wake` and `reader`. Bounds are `bounds.LogRange` or `bounds.ObjectSet`; bisection,
    replay and record ids follow from them.
    """

    name: str

    def plan(self, position: Position, budget: PlanBudget) -> Iterator[Planned]:
        """Yield new work only, oldest first.

        The caller stores an element without a split before it asks for the next; elements with a split it may store in
        groups. Elements that were yielded and not stored are new work again after a restart.

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

    def status(self, committed_offsets: Mapping[str, int]) -> SourceStatus:
        """Lag and partitions as of the last plan. Called about once a second; asks nobody.

        Args:
            committed_offsets: as for `committed`; empty until they have been read.
        """
        ...

    def reader(self) -> Reader:
        """A picklable reader for the workers; an `ObjectReader` where bounds are sets of objects."""
        ...

    def committed(self, splits: Sequence[Split], committed_offsets: Mapping[str, int]) -> None:
        """Report splits that are final in the ledger. Idempotent.

        Args:
            committed_offsets: by position key the end of the contiguous range of final splits.
        """
        ...

    def close(self) -> None:
        """Release clients. Safe to call twice."""
        ...


@runtime_checkable
class Restorable(Protocol):
    """A source whose ledger can be made anew from the receipts in its output files (`maintenance.rebuild`)."""

    def restore(self, splits: Sequence[Split], most: int) -> Iterator[Planned]:
        """Yield the plan of a new ledger, when these splits are all that is left of the old one.

        Each of the splits as it was planned; then splits, of at most ``most`` records where their number is known, for
        the records between them that no plan would reach again; then the positions behind them.

        Raises:
            Retryable: the outside world did not answer; call again later.
        """
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


@runtime_checkable
class TablePreprocessor(Protocol):
    """User code before the model: a table of records in, a table with the same rows out."""

    def __call__(self, records: pa.Table) -> pa.Table: ...
