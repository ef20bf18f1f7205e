"""Bucket notifications of AWS, MinIO and versitygw. They are hints: the source then asks the store for the object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

import orjson


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """An object that was created or changed.

    Attributes:
        keys: possible keys, the likeliest first, because some senders encode the key and some do not.
    """

    bucket: str
    keys: tuple[str, ...]


def parse_events(body: bytes | str) -> list[ObjectEvent]:
    """The created objects in one notification, also in one wrapped by SNS.

    Test events, removals and notifications that cannot be parsed give none; the next listing finds objects that they missed.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return []
    if isinstance(document, dict) and isinstance(document.get("Message"), str) and "Records" not in document:
        return parse_events(document["Message"])
    records = document.get("Records") if isinstance(document, dict) else None
    return [event for record in records for event in _event(record)] if isinstance(records, list) else []


def _event(record: Any) -> Iterator[ObjectEvent]:
    try:
        name = str(record["eventName"]).removeprefix("s3:")
        bucket = record["s3"]["bucket"]["name"]
        item = record["s3"]["object"]
        key = item["key"]
    except (KeyError, TypeError):
        return
    if not isinstance(key, str) or not isinstance(bucket, str) or not name.startswith("ObjectCreated"):
        return
    decoded = unquote_plus(key)
    # versitygw keeps the ETag's quotes and does not encode the key; AWS and MinIO encode it and have no quotes
    plain_first = str(item.get("eTag", "")).startswith('"')
    keys = (key, decoded) if plain_first else (decoded, key)
    yield ObjectEvent(bucket, tuple(dict.fromkeys(keys)))
