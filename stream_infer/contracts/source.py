"""The contract of sources: plans of new work, and their state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from stream_infer.contracts.reader import Reader
from stream_infer.splits import Loss, Split


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
