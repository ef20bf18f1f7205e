"""Rejects after the commit: queries, states, and the dead letters that are published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from stream_infer.splits import Reject, Split


class State(StrEnum):
    """The state of a reject."""

    OPEN = "open"
    REPLAYING = "replaying"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class RejectQuery:
    """Conditions on rejects; every condition that is given must hold.

    Attributes:
        source / error: name of the source; class name of the error.
        since / until: rejected at or after, before; seconds since the epoch.
        records: coordinates; empty means any.
        state: only rejects in this state. A replay takes only open ones in any case.
    """

    source: str | None = None
    error: str | None = None
    since: float | None = None
    until: float | None = None
    records: tuple[str, ...] = ()
    state: State | None = None


@dataclass(frozen=True, slots=True)
class RejectStatus:
    """One reject as it is in the ledger now, with its newest reason.

    Attributes:
        state: ``open``; ``replaying`` (planned again, not yet final); ``resolved`` (its row is committed).
        replays: how often it was planned again.
        split_id: the split that was committed with it as a reject.
        replay_split: the split of its newest replay.
        resolved_at: seconds since the epoch.
        sample: the beginning of its payload, where ``rejects.sample`` allows one and it has been fetched.
    """

    reject: Reject
    state: State
    replays: int
    split_id: str
    replay_split: str | None = None
    resolved_at: float | None = None
    sample: bytes | None = field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """A JSON object; the fields of the reject first."""
        reject = self.reject
        names = ("record_id", "source", "stage", "error", "reason", "attempts", "rejected_at")
        own = ("state", "replays", "split_id", "replay_split", "resolved_at")
        return {name: getattr(reject, name) for name in names} | {name: getattr(self, name) for name in own}


@dataclass(frozen=True, slots=True)
class Original:
    """A rejected record as it came in, as far as it can still be had.

    Attributes:
        key / value / headers: as Kafka has them; of an object its key, its content, and none.
        missing: why there is no value; None when there is one (or the message had none).
    """

    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One rejection of a record: a record that is replayed may be rejected several times.

    Attributes:
        seq: its number in the order of commits.
        replay: the replay that ended so; 0 for the first rejection.
        split: the split that held the record.
        original: the record as it came in, where a target asked for it.
    """

    seq: int
    reject: Reject
    replay: int
    split: Split
    original: Original | None = None


def sample_document(sample: bytes) -> Mapping[str, str]:
    """A JSON object of a sample: text where it is UTF-8, else base64."""
    import base64

    try:
        text = sample.decode()
    except UnicodeDecodeError as error:
        # a sample may be cut inside a character, which does not make it binary
        if error.start < len(sample) - 3 or error.reason != "unexpected end of data":
            return {"encoding": "base64", "data": base64.b64encode(sample).decode()}
        text = sample[: error.start].decode()
    if "\0" in text:
        return {"encoding": "base64", "data": base64.b64encode(sample).decode()}
    return {"encoding": "text", "data": text}
