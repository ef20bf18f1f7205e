"""Search for a record or an object by its record id, coordinate, URL or key, or by a bare offset."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from stream_infer import config
from stream_infer.errors import ConfigError
from stream_infer.ledger import Ledger
from stream_infer.maintenance.where import Whereabouts, where
from stream_infer.ops.watch.assembly import location_of

_MAX_DIGITS = 18  # of an offset; a database integer has no more


def search(settings: config.PipelineSettings, ledger: Ledger, asked: str) -> list[Whereabouts]:
    """How every record or object ended that the name may mean; empty if none was ever planned.

    Raises:
        ConfigError: the name cannot mean anything here.
    """
    name = asked.strip()
    if not name or "\0" in name:
        raise ConfigError("name a record id, s3://bucket/key, a key, topic/partition/offset or an offset")
    if re.search(rf"\d{{{_MAX_DIGITS + 1}}}$", name) and "://" not in name.removeprefix("kafka://"):
        raise ConfigError(f"an offset has at most {_MAX_DIGITS} digits")
    results: list[Whereabouts] = []
    for candidate in _candidates(settings, ledger, name):
        results += [item for item in where(ledger, candidate) if item not in results]
    return results


def absent(settings: config.PipelineSettings, ledger: Ledger, asked: str) -> str:
    """A sentence for a search without a result: not planned yet or never planned, and where the sources read."""
    name = asked.strip()
    message = re.fullmatch(r"(?:kafka://[^/]+/)?(.+/\d+)/(\d+)", name)
    for source in ledger.status()["sources"].values() if message else ():
        planned = source["positions"].get(message[1]) if message else None
        if isinstance(planned, int) and message is not None:
            partition = message[1]
            so_far = f"{partition} is planned up to offset {planned - 1:,}" if planned else f"nothing of {partition} is"
            if int(message[2]) >= planned:
                return f"{name} is not planned yet: {so_far}"
            return f"{name} was never planned: {so_far}, and it is older than the offset where the source began"
    sources = ", ".join(f"{item.name} ({location_of(item)})" for item in settings.sources)
    return f"{name} was never planned; the sources are {sources}"


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
    """URLs that a key may mean: from the root of the bucket or disk, and from the source's own prefix."""
    scheme, _, rest = url.rpartition("://")
    if scheme in ("", "file"):  # a folder and a file may be given relative to the current folder
        folder = Path(unquote(f"/{rest.partition('/')[2]}") if scheme else rest).expanduser().absolute()
        yield f"file://{Path(key).expanduser().absolute()}"
        yield f"file://{folder / key.lstrip('/')}"
        return
    bucket = rest.partition("/")[0]
    yield f"{scheme}://{bucket}/{key.lstrip('/')}"
    yield f"{url.rstrip('/')}/{key.lstrip('/')}"
