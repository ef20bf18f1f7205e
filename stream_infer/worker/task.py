"""What travels between stages: one split with its rows, as a table of exactly one row.

Ray Data drops empty blocks, unifies the schemas of neighbours and forgets schema metadata. One cell that holds it all as
Arrow IPC, whose schema metadata tell of the split, passes through all of that unchanged. One, because Ray pickles a table
column by column: for a small split that is the dearest thing that the driver does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import orjson
import pyarrow as pa

from stream_infer.decode.base import one_cell
from stream_infer.splits import Loss, Receipt, Reject, Split

ENVELOPE = pa.schema([("batch", pa.large_binary())])
_SPLIT, _OUTCOME = b"stream_infer.split", b"stream_infer.outcome"
EMPTY = pa.table({})


@dataclass(slots=True)
class Batch:
    """One split on its way.

    Attributes:
        rows: records after ``read``; provenance, kept and model columns after ``infer``.
        received: records that ``read`` took in.
        oldest: event time of the oldest of them, as the records themselves say it, seconds since the epoch.
        seconds: busy seconds by step.
        marks: start and end of each step and part of one, seconds since the epoch: what spans are made of.
        waits: actor-seconds by step, idle and backpressured, that passed before this split; see `stages.Stage`.
        ready_at: when the split became ready for the stage that it enters next, seconds since the epoch.
        deaths: of workers by this split so far.
        retries: tries of its steps that failed and were made again.
        origins: ``traceparent`` of the records' producers, `ORIGINS` of them at most.
        more_origins: how many there were beyond that.
        poisoned: why the split as a whole cannot go on; the steps that follow pass it through.
        held: the service stops and starts nothing more; the split stays planned, and what was read of it is dropped.
        fatal: a sentence for a person; the service stops.
        receipt: what ``write`` returned.
        deadline: seconds that one try of a step may take; None: as long as it likes.
    """

    split: Split
    rows: pa.Table = field(default_factory=lambda: EMPTY)
    rejects: list[Reject] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    received: int | None = None
    oldest: float | None = None
    bytes_in: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    marks: dict[str, list[float]] = field(default_factory=dict)
    waits: dict[str, list[float]] = field(default_factory=dict)
    ready_at: float = 0.0
    deaths: int = 0
    retries: int = 0
    origins: list[str] = field(default_factory=list)
    more_origins: int = 0
    inferences: int = 0
    batches: int = 0
    cost: float = 0.0
    padding: float = 0.0
    model: str = ""
    poisoned: Reject | None = None
    held: bool = False
    fatal: str | None = None
    receipt: Receipt | None = None
    deadline: float | None = None

    def to_receipt(self) -> Receipt:
        """The receipt as it stands before anything was written."""
        return Receipt(
            split_id=self.split.split_id,
            source=self.split.source,
            attempt=self.split.attempt,
            bounds=self.split.bounds,
            rows=self.rows.num_rows,
            rejects=tuple(self.rejects),
            losses=tuple(self.losses),
            received=self.received,
            bytes_in=self.bytes_in,
            seconds=dict(self.seconds),
            inferences=self.inferences,
            batches=self.batches,
            cost=self.cost,
            padding=self.padding,
            model=self.model,
            poisoned=self.poisoned,
        )

    def to_envelope(self) -> pa.Table:
        """A table of one row, `ENVELOPE`."""
        outcome: dict[str, Any] = {name: getattr(self, name) for name in _CARRIED}
        outcome["receipt"] = self.receipt and self.receipt.to_json()
        rows = EMPTY if self.receipt is not None or self.held else self.rows
        told = {_SPLIT: self.split.to_json(), _OUTCOME: orjson.dumps(outcome)}
        carried = rows.replace_schema_metadata({**(rows.schema.metadata or {}), **told})
        return pa.Table.from_arrays([one_cell(_packed(carried))], schema=ENVELOPE)

    @classmethod
    def from_envelope(cls, envelope: pa.Table) -> Batch:
        """The inverse of `to_envelope`; the rows are not copied."""
        rows = pa.ipc.open_stream(envelope.column("batch")[0].as_buffer()).read_all()
        metadata = rows.schema.metadata
        outcome: Mapping[str, Any] = orjson.loads(metadata.pop(_OUTCOME))
        split = Split.from_json(metadata.pop(_SPLIT))
        values: dict[str, Any] = dict(outcome)
        values["rejects"] = [Reject(**item) for item in outcome.get("rejects", [])]
        values["losses"] = [Loss(**item) for item in outcome.get("losses", [])]
        poisoned, receipt = outcome.get("poisoned"), outcome.get("receipt")
        values["poisoned"] = Reject(**poisoned) if poisoned else None
        values["receipt"] = Receipt.from_json(receipt) if receipt else None
        return cls(split=split, rows=rows.replace_schema_metadata(metadata or None), **values)


_CARRIED = tuple(each.name for each in fields(Batch) if each.name not in ("split", "rows", "receipt"))


def _packed(table: pa.Table) -> pa.Buffer:
    """The table as Arrow IPC. Copied once, into memory of just its size: rows may be large."""
    measure = pa.MockOutputStream()
    _write(measure, table)
    body = pa.allocate_buffer(measure.size())
    _write(pa.FixedSizeBufferWriter(body), table)
    return body


def _write(stream: pa.NativeFile, table: pa.Table) -> None:
    with stream, pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
