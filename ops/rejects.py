"""Rejects as the command line and the API show them, and the filter that command options describe."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from stream_infer.config.values import Seconds
from stream_infer.errors import ConfigError
from stream_infer.ledger import Ledger
from stream_infer.rejects import DeadLetter, RejectQuery, RejectStatus, State, sample_document

_SECONDS: TypeAdapter[float] = TypeAdapter(Seconds)
_REJECTION_FIELDS = ("stage", "error", "reason", "attempts", "rejected_at")


def reject_query(
    source: str | None,
    error: str | None,
    since: str | None,
    until: str | None,
    records: Sequence[str],
    state: State | None,
) -> RejectQuery:
    """The query that the command's options describe.

    Raises:
        ConfigError: a time cannot be read.
    """
    return RejectQuery(source, error, _timestamp("since", since), _timestamp("until", until), tuple(records), state)


def details(ledger: Ledger, records: Sequence[str]) -> list[dict[str, Any]]:
    """Everything that the ledger has about these records: a JSON object each, with sample and every earlier rejection."""
    documents: list[dict[str, Any]] = []
    for record in records:
        rejects, rejections = ledger.rejected_record(record)
        for item in rejects:
            history = [event for event in rejections if event.reject.source == item.reject.source]
            documents.append(_document(item, history))
    return documents


def in_words(document: dict[str, Any]) -> str:
    """One reject in a few lines."""
    lines = [
        document["record_id"],
        f"  {document['state']} · {document['error']} in {document['stage']}, attempt {document['attempts']}: "
        f"{document['reason']}",
    ]
    for event in document.get("history", ())[:-1]:
        when = f"{datetime.fromtimestamp(event['rejected_at'], UTC):%Y-%m-%d %H:%M:%S}"
        lines.append(f"  before, at {when}: {event['error']} in {event['stage']}: {event['reason']}")
    if document.get("sample"):
        lines.append(f"  sample ({document['sample']['encoding']}): {document['sample']['data']}")
    return "\n".join(lines)


def replay_sentence(count: int) -> str:
    """The answer to a request to replay rejects."""
    if not count:
        return "no open reject matches"
    return f"{count} rejects will be replayed: by the running service within seconds, else by the next run"


def _document(item: RejectStatus, history: Sequence[DeadLetter]) -> dict[str, Any]:
    events = [
        {"split_id": event.split.split_id, "replay": event.replay}
        | {name: getattr(event.reject, name) for name in _REJECTION_FIELDS}
        for event in history
    ]
    sample = None if item.sample is None else dict(sample_document(item.sample))
    return item.to_dict() | {"sample": sample, "history": events}


def _timestamp(option: str, text: str | None) -> float | None:
    """Seconds since the epoch of a time or of an age."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            return time.time() - _SECONDS.validate_python(text.removesuffix(" ago"))
        except ValidationError:
            raise ConfigError(
                f"--{option}: {text!r} is not a time; write 2026-01-31T12:00+00:00, or an age such as 2h"
            ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
