"""The split: the unit of planning, execution, retry and commit, and its identity.

Everything that decides a split's file name is fixed when it is planned and stored with it, so a retry, a
restart or another day writes the same name.
"""

from __future__ import annotations

import builtins
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import orjson

from stream_infer.bounds import JSON, Bounds, ObjectSet, halves, parse, record_count, replay_of, single

Lane = Literal["live", "backfill"]


@dataclass(frozen=True, slots=True)
class Split:
    """Some input to read: a few hundred bytes. The data itself never passes through the driver.

    Attributes:
        split_id: digest of source and bounds; the name of its output file.
        source: name of the source that planned it.
        bounds: what to read, as the JSON document of `bounds.Bounds`; never changes.
        folder: partition folder of its output, such as ``date=2026-11-24``; fixed when planned.
        records: estimated number of records (an upper bound for offset ranges).
        bytes: estimated input bytes, for admission.
        lane: ``live`` work is admitted before ``backfill``.
        planned_at: seconds since the epoch.
        event_at: oldest event time in it if known, seconds since the epoch.
        parent: the split this one was bisected from.
        depth: number of bisections that led to it.
        attempt: tries counted so far, this one included; 0 while only planned.
    """

    split_id: str
    source: str
    bounds: JSON
    folder: str
    records: int
    bytes: int
    lane: Lane = "live"
    planned_at: float = 0.0
    event_at: float | None = None
    parent: str | None = None
    depth: int = 0
    attempt: int = 0
    trace_id: str = ""

    @classmethod
    def of(cls, source: str, bounds: Bounds | JSON, **fields: Any) -> Split:
        """A split whose identity follows from its source and bounds alone."""
        document = bounds if isinstance(bounds, Mapping) else bounds.to_json()
        identity = orjson.dumps([source, document], option=orjson.OPT_SORT_KEYS)
        digest = hashlib.blake2b(identity, digest_size=16).hexdigest()
        return cls(split_id=digest, source=source, bounds=document, trace_id=digest, **fields)

    def to_json(self) -> str:
        """The split as one JSON document; `from_json` is its inverse."""
        return orjson.dumps(self).decode()

    @classmethod
    def from_json(cls, document: str | builtins.bytes) -> Split:
        return cls(**orjson.loads(document))

    @property
    def replay(self) -> int:
        """Which replay of a rejected record this is, from 1; 0 for work that a source planned."""
        return replay_of(self.bounds)

    def fields(self) -> dict[str, str]:
        """Fields of a log line about this split."""
        return {"source": self.source, "split": self.split_id, "trace_id": self.trace_id}

    def tried(self) -> Split:
        """The same split with one more attempt counted."""
        return replace(self, attempt=self.attempt + 1)

    def halves(self, rows: int | None = None) -> tuple[Split, Split] | None:
        """Two halves that together hold the split; None where it holds one record.

        Args:
            rows: how many rows its single object has; see `bounds.halves`.
        """
        divided = halves(parse(self.bounds), rows)
        if divided is None:
            return None
        first, second = (self.child(half, records=record_count(half), bytes=self._bytes_of(half)) for half in divided)
        return first, second

    def for_replay(self, reject: Reject, number: int) -> Split:
        """A split that reads one rejected record of this split again.

        Its identity follows from the record and the number of the replay, and is no other split's.
        """
        bounds = replace(single(parse(self.bounds), reject.record_id, reject.whole), replay=number)
        inherited = {"folder": self.folder, "lane": self.lane, "parent": self.split_id}
        return Split.of(
            self.source, bounds, records=1, bytes=self._bytes_of(bounds), planned_at=time.time(), **inherited
        )

    def child(self, bounds: Bounds | JSON, **fields: Any) -> Split:
        """One half of a bisected split: same source, folder and lane, one level deeper."""
        inherited = {"folder": self.folder, "lane": self.lane, "planned_at": self.planned_at, "event_at": self.event_at}
        return Split.of(self.source, bounds, parent=self.split_id, depth=self.depth + 1, **inherited, **fields)

    def _bytes_of(self, bounds: Bounds) -> int:
        """Estimated input bytes of a part of the split. Rows of an object cost the whole object."""
        if isinstance(bounds, ObjectSet):
            return sum(item.size for item in bounds.objects)
        return self.bytes // max(1, self.records) * record_count(bounds)


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that cannot be processed, kept with its coordinate and reason (a dead letter).

    Attributes:
        record_id: the record's coordinate.
        stage: ``read``, ``infer`` or ``write``.
        error: class name of the error.
        reason: one sentence.
        attempts: tries of its split.
        rejected_at: seconds since the epoch.
        whole: it stands for everything that its split would have read of the object, not for one row of it.
    """

    record_id: str
    source: str
    stage: str
    error: str
    reason: str
    attempts: int
    rejected_at: float
    whole: bool = False

    def __post_init__(self) -> None:
        # an error's text may quote the record: NUL and lone surrogates fit in no JSON document and no PostgreSQL text
        for name in ("record_id", "error", "reason"):
            text = getattr(self, name)
            clean = text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
            object.__setattr__(self, name, clean)


@dataclass(frozen=True, slots=True)
class Loss:
    """Records that can no longer be read: named, counted, never silent.

    Attributes:
        record_id: coordinate of the first lost record (for a range, of its start).
        reason: ``expired``, ``superseded`` or ``deleted``.
        records: how many, as far as is known.
    """

    record_id: str
    source: str
    reason: str
    records: int = 1


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of a split, as ``write`` returns it; the output file's footer holds it too.

    Attributes:
        file: output file relative to the sink's root, or None when no row was left to write.
        rows: output rows.
        rejects / losses: records of the split that did not become rows.
        received: records that ``read`` took in, counted before anything could drop one; None where it did not run.
        bytes_in / bytes_out: input content and output file, in bytes.
        seconds: busy seconds by step (``read``, ``infer``, ``write``).
        cost / padding: cost of the answered records in the model's units, and the share of what was paid, 0 … 1, that
            was padding.
        model: ``name@digest``.
        retired: the file is the empty one that takes the name of a split to be bisected, or of one that a later attempt
            left without a row.
        poisoned: set instead of rows when the split as a whole cannot be processed: why, with no record named yet.
    """

    split_id: str
    source: str
    attempt: int
    bounds: JSON
    file: str | None = None
    rows: int = 0
    rejects: tuple[Reject, ...] = ()
    losses: tuple[Loss, ...] = ()
    received: int | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    inferences: int = 0
    batches: int = 0
    cost: float = 0.0
    padding: float = 0.0
    model: str = ""
    written_at: float = 0.0
    retired: bool = False
    poisoned: Reject | None = None

    @property
    def replay(self) -> int:
        """Which replay of a rejected record its split is, from 1; 0 for planned work."""
        return replay_of(self.bounds)

    @property
    def records(self) -> int:
        """Records accounted for: rows, rejects and losses."""
        return self.rows + len(self.rejects) + sum(loss.records for loss in self.losses)

    def to_json(self) -> str:
        return orjson.dumps(self).decode()

    @classmethod
    def from_json(cls, document: str | bytes) -> Receipt:
        return cls.from_fields(orjson.loads(document))

    @classmethod
    def from_fields(cls, fields: dict[str, Any]) -> Receipt:
        """The receipt of a decoded JSON document."""
        fields["rejects"] = tuple(Reject(**item) for item in fields["rejects"])
        fields["losses"] = tuple(Loss(**item) for item in fields["losses"])
        fields["poisoned"] = Reject(**fields["poisoned"]) if fields.get("poisoned") else None
        return cls(**fields)
