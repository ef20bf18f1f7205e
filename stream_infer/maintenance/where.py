"""The state of a record or an object, from the ledger, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from stream_infer.bounds import LogRange, ObjectSet, parse
from stream_infer.errors import ConfigError
from stream_infer.ledger import Ledger
from stream_infer.records import KafkaCoordinate, ObjectCoordinate, parse_coordinate
from stream_infer.rejects import State
from stream_infer.splits import Loss

_WORDS = {
    "planned": "in_flight",
    "running": "in_flight",
    "committed": "committed",
    "rejected": "rejected",
    "bisected": "bisected",
}


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """One split that holds the record.

    Attributes:
        state: ``in_flight``, ``committed``, ``rejected``, ``lost`` or ``bisected``.
        file: output file relative to the sink's root, where its row stands unless it was rejected.
        reason: why it was rejected or lost.
    """

    record: str
    state: str
    split_id: str
    source: str
    file: str | None
    attempts: int
    reason: str | None = None


def where(ledger: Ledger, name: str) -> list[Whereabouts]:
    """Every split that holds the named record or object, oldest first; empty when it was never planned.

    Args:
        name: a coordinate, a plain ``s3://bucket/key``, or ``topic/partition/offset``.

    Raises:
        ConfigError: the name is none of these.
    """
    coordinate = _parse(name)
    if isinstance(coordinate, KafkaCoordinate):
        splits = ledger.splits_for(f"{coordinate.topic}/{coordinate.partition}", coordinate.offset)
    else:
        prefix = coordinate.object_id if coordinate.version else coordinate.object_id.removesuffix("?version=") + "?"
        splits = ledger.splits_for_object(prefix)
    final = [split for split in splits if split["state"] != "bisected"] or splits
    answers = [_whereabouts(ledger, name, coordinate, split) for split in final]
    if not answers:
        loss = _loss_of(ledger, coordinate)
        return [] if loss is None else [Whereabouts(name, "lost", "", loss.source, None, 0, loss.reason)]
    # a record that was replayed is in one split now, whichever of its splits was asked
    return list({answer.split_id: answer for answer in answers}.values())


def _parse(name: str) -> KafkaCoordinate | ObjectCoordinate:
    pieces = name.rsplit("/", 2)
    if "://" not in name and len(pieces) == 3 and pieces[1].isdigit() and pieces[2].isdigit():
        return KafkaCoordinate("", pieces[0], int(pieces[1]), int(pieces[2]))
    if "://" in name and "?version=" not in name and not name.startswith("kafka://"):
        parts = urlsplit(name)
        return ObjectCoordinate(parts.scheme, parts.netloc, name.split("://", 1)[1].partition("/")[2], "")
    try:
        return parse_coordinate(name)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _whereabouts(
    ledger: Ledger, name: str, coordinate: KafkaCoordinate | ObjectCoordinate, split: dict[str, Any]
) -> Whereabouts:
    reason = None
    record = name if "://" in name else f"{split['source']}: {name}"
    exact = _exact(coordinate, split)
    if exact is not None:
        record = exact
        statuses, _ = ledger.rejected_record(exact)
        for status in statuses:
            if status.state is State.OPEN:
                reject = status.reject
                reason = f"{reject.error} in {reject.stage}: {reject.reason}"
            # the newest fate: the split that rejected it last, or the one that replays it
            split = ledger.split(status.replay_split or status.split_id) or split
    state = _WORDS[split["state"]] if reason is None else "rejected"
    if state == "committed" and exact is not None:
        named = coordinate if isinstance(coordinate, KafkaCoordinate) else parse_coordinate(exact)
        if loss := _loss_of(ledger, named):
            state, reason = "lost", loss.reason
    # the first try is counted durably only when there is a second
    attempts = max(split["attempts"], int(split["state"] in ("committed", "rejected")))
    return Whereabouts(record, state, split["split_id"], split["source"], split["file"], attempts, reason)


def _loss_of(ledger: Ledger, coordinate: KafkaCoordinate | ObjectCoordinate) -> Loss | None:
    """The named loss that holds the record, if it is lost; of a range only the first record is named."""
    if isinstance(coordinate, KafkaCoordinate):
        near = f"{coordinate.cluster}/{coordinate.topic}/{coordinate.partition}/"
    else:
        near = f"{coordinate.object_id}#" if coordinate.version else coordinate.object_id
    for loss in ledger.losses_near(near):
        first = parse_coordinate(loss.record_id)
        container, at = _container(coordinate)
        container_of_loss, start = _container(first)
        if container == container_of_loss and start <= at < start + loss.records:
            return loss
    return None


def _container(coordinate: KafkaCoordinate | ObjectCoordinate) -> tuple[tuple[str, str | int], int]:
    """The partition or object of a record, and the record's number in it."""
    if isinstance(coordinate, KafkaCoordinate):
        return (coordinate.topic, coordinate.partition), coordinate.offset
    return (coordinate.bucket, coordinate.key), coordinate.row


def _exact(coordinate: KafkaCoordinate | ObjectCoordinate, split: dict[str, Any]) -> str | None:
    """The full coordinate, where the split's bounds complete the name."""
    bounds = parse(split["bounds"])
    if isinstance(coordinate, KafkaCoordinate):
        if coordinate.cluster or not isinstance(bounds, LogRange):
            return str(coordinate)
        return bounds.record_id(coordinate.offset)
    if coordinate.version or not isinstance(bounds, ObjectSet):
        return str(coordinate)
    versions = [item.version for item in bounds.objects if item.key == coordinate.key]
    if len(versions) != 1:
        return None
    return str(ObjectCoordinate(coordinate.scheme, coordinate.bucket, coordinate.key, versions[0]))
