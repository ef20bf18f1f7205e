"""The settings that the work in a ledger was planned with. A start with other settings is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from sqlalchemy import Connection, delete, insert, select

from stream_infer.errors import Fatal
from stream_infer.ledger import schema

UNFINISHED = "rebuild"  # a setting that is stored while the ledger is filled from receipts


def fingerprint(value: str) -> str:
    """The stored form of a setting: a URL without its credentials, its query as a digest."""
    if "://" not in value:
        return value
    parts = urlsplit(value)
    query = hashlib.blake2b(parts.query.encode(), digest_size=8).hexdigest() if parts.query else ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, query, ""))


def stored(connection: Connection) -> dict[str, str]:
    """All stored settings, by name."""
    return {row.name: row.value for row in connection.execute(select(schema.settings))}


def remember(connection: Connection, given: Mapping[str, str]) -> None:
    """Store the settings of this start.

    Raises:
        Fatal: one of them differs from the stored one, and work was planned with that.
    """
    before = stored(connection)
    changed = sorted(name for name in given.keys() & before.keys() if given[name] != before[name])
    renamed = _renamed(given, before)
    if (changed or renamed) and connection.scalar(select(schema.splits.c.seq).limit(1)) is not None:
        if changed:
            was = f"{changed[0]} was {before[changed[0]]!r} when this ledger planned its work"
        elif renamed:
            was = (
                f"{renamed[0]} was named {renamed[1]} when this ledger planned its work (if it is another one, "
                f"keep {renamed[1]} in the file as well)"
            )
        raise Fatal(f"{was}: restore the setting, or start afresh with a new ledger URL and a new sink URL")
    connection.execute(delete(schema.settings).where(schema.settings.c.name.in_(given)))
    rows = [{"name": name, "value": value} for name, value in given.items()]
    if rows:
        connection.execute(insert(schema.settings), rows)


def _renamed(given: Mapping[str, str], before: Mapping[str, str]) -> tuple[str, str] | tuple[()]:
    """(new, old) name of a group of settings, such as ``sources.inbox``, that is otherwise equal: its work would be done twice."""

    def groups(settings: Mapping[str, str]) -> dict[str, dict[str, str]]:
        by_group: dict[str, dict[str, str]] = {}
        for name, value in settings.items():
            group, _, last = name.rpartition(".")
            by_group.setdefault(group, {})[last] = value
        return by_group

    now, then = groups(given), groups(before)
    for new in sorted(now.keys() - then.keys()):
        for old in sorted(then.keys() - now.keys()):
            if now[new] == then[old]:
                return new, old
    return ()
