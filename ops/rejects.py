"""How the command line names rejects and shows them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from stream_infer.config.values import Seconds
from stream_infer.errors import ConfigError
from stream_infer.ledger import Ledger
from stream_infer.rejects import Rejected, RejectFilter, Rejection, State, sample_document

_SECONDS: TypeAdapter[float] = TypeAdapter(Seconds)


def chosen(
    source: str | None,
    error: str | None,
    since: str | None,
    until: str | None,
    records: Sequence[str],
    state: State | None,
) -> RejectFilter:
    """The filter that the options mean. Raises ConfigError for a time that is none."""
    return RejectFilter(source, error, _moment("since", since), _moment("until", until), tuple(records), state)


def whole(ledger: Ledger, records: Sequence[str]) -> list[dict[str, Any]]:
    """Everything that is known of these records: a JSON object each, with the sample and every earlier rejection."""
    found: list[dict[str, Any]] = []
    for record in records:
        now, past = ledger.rejected_record(record)
        found += [_whole(item, [event for event in past if event.reject.source == item.reject.source]) for item in now]
    return found


def in_words(item: dict[str, Any]) -> str:
    """One reject in a few lines."""
    lines = [
        item["record_id"],
        f"  {item['state']} · {item['error']} in {item['stage']}, attempt {item['attempts']}: {item['reason']}",
    ]
    for event in item.get("history", ())[:-1]:
        lines.append(
            f"  before, at {_shown(event['rejected_at'])}: {event['error']} in {event['stage']}: {event['reason']}"
        )
    if item.get("sample"):
        lines.append(f"  sample ({item['sample']['encoding']}): {item['sample']['data']}")
    return "\n".join(lines)


def asked(count: int) -> str:
    """What the person who asked for a replay is told."""
    if not count:
        return "no open reject matches"
    return f"{count} rejects will be replayed: by the running service within seconds, else by the next run"


def _whole(item: Rejected, past: Sequence[Rejection]) -> dict[str, Any]:
    names = ("split_id", "replay", "stage", "error", "reason", "attempts", "rejected_at")
    history = [
        {name: getattr(event.reject, name, None) for name in names}
        | {"replay": event.replay, "split_id": event.split.split_id}
        for event in past
    ]
    sample = None if item.sample is None else dict(sample_document(item.sample))
    return item.to_dict() | {"sample": sample, "history": history}


def _moment(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            return time.time() - _SECONDS.validate_python(text.removesuffix(" ago"))
        except ValidationError:
            raise ConfigError(
                f"--{name}: {text!r} is no time; write 2026-01-31T12:00+00:00, or an age such as 2h"
            ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _shown(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S}"
