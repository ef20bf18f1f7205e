"""Where is …: a record id, a coordinate, an object's key or a bare offset, whatever a person has at hand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from stream_infer import config
from stream_infer.errors import ConfigError
from stream_infer.ledger import Ledger
from stream_infer.maintenance.where import Whereabouts, where
from stream_infer.ops.watch.assembly import place_of

_MOST_DIGITS = 18  # of an offset; more fit in no database


def search(settings: config.PipelineSettings, ledger: Ledger, asked: str) -> list[Whereabouts]:
    """What became of whatever the words may mean; empty when none of it was ever planned.

    Raises:
        ConfigError: the words can mean nothing here.
    """
    name = asked.strip()
    if not name or "\0" in name:
        raise ConfigError("name a record id, s3://bucket/key, a key, topic/partition/offset or an offset")
    if re.search(rf"\d{{{_MOST_DIGITS + 1}}}$", name) and "://" not in name.removeprefix("kafka://"):
        raise ConfigError("no offset is that large")
    found: list[Whereabouts] = []
    for candidate in _candidates(settings, ledger, name):
        found += [item for item in where(ledger, candidate) if item not in found]
    return found


def absent(settings: config.PipelineSettings, ledger: Ledger, asked: str) -> str:
    """What to say where nothing was found: not yet, or never, and where the sources look."""
    name = asked.strip()
    place = re.fullmatch(r"(?:kafka://[^/]+/)?(.+/\d+)/(\d+)", name)
    for source in ledger.status()["sources"].values() if place else ():
        planned = source["positions"].get(place[1]) if place else None
        if isinstance(planned, int) and place is not None:
            so_far = f"{place[1]} is planned up to offset {planned - 1:,}" if planned else f"nothing of {place[1]} is"
            if int(place[2]) >= planned:
                return f"{name} is not planned yet: {so_far}"
            return f"{name} was never planned: {so_far}, and it is older than where the source began"
    looked = ", ".join(f"{item.name} ({place_of(item)})" for item in settings.sources)
    return f"{name} was never planned; the sources are {looked}"


def _candidates(settings: config.PipelineSettings, ledger: Ledger, name: str) -> Iterator[str]:
    if "://" in name or re.fullmatch(r".+/\d+/\d+", name):
        yield name
    if "://" in name:
        return
    if name.isdecimal():
        for source in ledger.status()["sources"].values():
            yield from (f"{key}/{name}" for key in source["positions"] if re.fullmatch(r".+/\d+", key))
    for item in settings.sources:
        if item.folder is not None:
            yield from _objects(item.folder, name)


def _objects(url: str, key: str) -> Iterator[str]:
    """A key as it stands in the bucket or on the disk, and as it stands under the source's own prefix."""
    scheme, _, rest = url.rpartition("://")
    if scheme in ("", "file"):  # a folder may be named from where one stands, and so may its files
        folder = Path(unquote(f"/{rest.partition('/')[2]}") if scheme else rest).expanduser().absolute()
        yield f"file://{Path(key).expanduser().absolute()}"
        yield f"file://{folder / key.lstrip('/')}"
        return
    bucket = rest.partition("/")[0]
    yield f"{scheme}://{bucket}/{key.lstrip('/')}"
    yield f"{url.rstrip('/')}/{key.lstrip('/')}"
