"""Rejects as people and targets see them: which are meant, what became of each, what is told to the outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from stream_infer.splits import Reject, Split


class State(StrEnum):
    """What became of a reject."""

    OPEN = "open"
    REPLAYING = "replaying"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class RejectFilter:
    """Which rejects are meant; every condition that is given must hold.

    Attributes:
        source / error: name of the source; class name of the error.
        since / until: rejected at or after, before; seconds since the epoch.
        records: coordinates; empty means any.
        state: only rejects in this state. Only open ones are replayed, whatever it says.
    """

    source: str | None = None
    error: str | None = None
    since: float | None = None
    until: float | None = None
    records: tuple[str, ...] = ()
    state: State | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """One reject as the ledger has it now, with its newest reason.

    Attributes:
        state: ``open``; ``replaying`` (planned anew, not yet final); ``resolved`` (its row is committed).
        replays: how often it was planned anew.
        split_id: the split that was committed with it as a reject.
        replay_split: the split that reads it again, or did.
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
class Rejection:
    """One time that a record was rejected.

    Attributes:
        seq: its place in the order of commits.
        replay: the replay that ended so; 0 for the first time.
        split: the split it stood in.
    """

    seq: int
    reject: Reject
    replay: int
    split: Split


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
class Told:
    """What a target is given: a rejection, and its original where it asked for one."""

    rejection: Rejection
    original: Original | None = None


def sample_document(sample: bytes) -> Mapping[str, str]:
    """A sample for JSON and for people: text where it is UTF-8, else base64."""
    import base64

    try:
        text = sample.decode()
    except UnicodeDecodeError as error:
        # a sample is cut anywhere: a character that is not whole at its end does not make it binary
        if error.start < len(sample) - 3 or error.reason != "unexpected end of data":
            return {"encoding": "base64", "data": base64.b64encode(sample).decode()}
        text = sample[: error.start].decode()
    if "\0" in text:
        return {"encoding": "base64", "data": base64.b64encode(sample).decode()}
    return {"encoding": "text", "data": text}
