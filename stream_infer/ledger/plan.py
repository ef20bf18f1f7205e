"""Planning: positions, object claims, new splits and counted attempts, each durable before anything acts on it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, func, insert, select, update

from stream_infer.contracts import Planned, Position
from stream_infer.ledger import rows, schema
from stream_infer.ledger.store import Store
from stream_infer.splits import Loss, Split

# run for each partition at each plan, so built once
_POSITION = select(schema.positions.c.value).where(
    schema.positions.c.source == bindparam("source"), schema.positions.c.key == bindparam("key")
)


class LedgerPosition:
    """Position of one source, read from the ledger at each call (`contracts.Position`)."""

    def __init__(self, source: str, reading: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._source, self._reading = source, reading

    def get(self, key: str) -> Any | None:
        """The next position under a key; None where nothing was planned yet."""
        with self._reading() as connection:
            value = connection.scalar(_POSITION, {"source": self._source, "key": key})
        return None if value is None else orjson.loads(value)

    def unseen(self, object_ids: Sequence[str]) -> set[str]:
        """The object versions that no split has claimed."""
        table = schema.objects
        with self._reading() as connection:
            seen = rows.existing(connection, table.c.object_id, object_ids, table.c.source == self._source)
        return set(object_ids) - seen


class Planning(Store):
    """Writes and queries of work that is not final yet."""

    def position(self, source: str) -> Position:
        """A live, read-only view of the source's positions and object claims."""
        return LedgerPosition(source, self._reading)

    def plan(self, source: str, plans: Sequence[Planned]) -> list[Split]:
        """Store splits, positions, object claims and losses in ONE transaction; returns the splits that are new.

        Several splits may claim one object (ranges of a big one): store them in one call, or name the object in the
        last of them, or a crash in between leaves an object that is seen and only partly planned.

        Raises:
            Fenced: another instance owns the ledger.
            Retryable: call again with the same plans; splits stored by a lost reply are returned then.
        """

        def work(connection: Connection) -> list[Split]:
            added = rows.insert_splits(connection, [plan.split for plan in plans if plan.split is not None])
            _claim(connection, source, plans)
            moved = {key: value for plan in plans for key, value in plan.positions.items()}
            _move(connection, source, moved)
            new_losses = rows.insert_losses(connection, [("", loss) for plan in plans for loss in plan.losses])
            _count_lost(connection, new_losses)
            return added

        return self._write(("plan", source, tuple(map(_identity, plans))), work)

    def attempt(self, splits: Sequence[Split]) -> list[Split]:
        """Count one more attempt of each split, durably, before it is dispatched.

        Returns the splits with the stored count as their ``attempt``; a split that is final already is left out.
        """

        def work(connection: Connection) -> list[Split]:
            table = schema.splits
            counted: dict[str, int] = {}
            for some in schema.chunks([split.split_id for split in splits]):
                chosen = (table.c.split_id.in_(some), schema.OPEN)
                tried = {"attempts": table.c.attempts + 1, "state": schema.RUNNING}
                connection.execute(update(table).where(*chosen).values(tried))
                stored = connection.execute(select(table.c.split_id, table.c.attempts).where(*chosen))
                counted.update((row.split_id, row.attempts) for row in stored)
            kept = (split for split in splits if split.split_id in counted)
            return [replace(split, attempt=counted[split.split_id]) for split in kept]

        if not splits:
            return []
        return self._write(("attempt", tuple((split.split_id, split.attempt) for split in splits)), work)

    def forgive(self) -> None:
        """Set the attempts of unfinished splits back to 0: the service ends in good order, so no split caused its end."""
        table = schema.splits

        def work(connection: Connection) -> None:
            connection.execute(update(table).where(schema.OPEN, table.c.attempts > 0).values(attempts=0))

        self._write(("forgive",), work)

    def unfinished(self) -> list[Split]:
        """Every split that is not final, oldest first; the halves of a bisected split take its position."""
        table = schema.splits
        order = (func.coalesce(table.c.root, table.c.seq), table.c.range_start, table.c.seq)
        query = select(table.c.document, table.c.attempts).where(schema.OPEN).order_by(*order)
        with self._reading() as connection:
            return [rows.to_split(row) for row in connection.execute(query)]

    def committed_offsets(self, source: str) -> dict[str, int]:
        """By position key the end of the contiguous range of final splits.

        The lowest start of a split that is not final, else the stored position (an int, or the ``next`` of an object).
        """
        table = schema.splits
        waiting = (
            select(table.c.position_key, func.min(table.c.range_start))
            .where(schema.OPEN, table.c.source == source, table.c.position_key.is_not(None))
            .group_by(table.c.position_key)
        )
        ends: dict[str, int] = {}
        with self._reading() as connection:
            stored = connection.execute(select(schema.positions).where(schema.positions.c.source == source))
            for row in stored:
                value = orjson.loads(row.value)
                value = value.get("next") if isinstance(value, dict) else value
                if isinstance(value, int) and not isinstance(value, bool):
                    ends[row.key] = value
            ends.update((key, start) for key, start in connection.execute(waiting))
        return ends


def _identity(plan: Planned) -> Hashable:
    split_id = plan.split.split_id if plan.split is not None else ""
    return split_id, orjson.dumps(dict(plan.positions), option=orjson.OPT_SORT_KEYS), plan.objects, plan.losses


def _claim(connection: Connection, source: str, plans: Sequence[Planned]) -> None:
    table = schema.objects
    wanted = {}
    for plan in plans:
        split_id = plan.split.split_id if plan.split is not None else ""
        wanted.update({(item.object_id, split_id): item for item in plan.objects})
    for some in schema.chunks(list({object_id for object_id, _ in wanted})):
        # by the key's first columns: SQLite answers pairs in an IN by reading the whole table
        query = select(table.c.object_id, table.c.split_id).where(table.c.object_id.in_(some), table.c.source == source)
        for object_id, split_id in connection.execute(query).all():
            wanted.pop((object_id, split_id), None)
    claims = [
        {"object_id": key, "source": source, "split_id": split_id, "size": item.size, "modified": item.modified}
        for (key, split_id), item in wanted.items()
    ]
    if claims:
        connection.execute(insert(table), claims)


def _move(connection: Connection, source: str, moved: Mapping[str, Any]) -> None:
    table = schema.positions
    old = rows.existing(connection, table.c.key, list(moved), table.c.source == source)
    for key, value in moved.items():
        document = orjson.dumps(value).decode()
        if key in old:
            here = (table.c.source == source, table.c.key == key)
            connection.execute(update(table).where(*here).values(value=document))
        else:
            connection.execute(insert(table).values(source=source, key=key, value=document))


def _count_lost(connection: Connection, losses: Sequence[Loss]) -> None:
    lost: dict[str, int] = {}
    for loss in losses:
        lost[loss.source] = lost.get(loss.source, 0) + loss.records
    for source, records in lost.items():
        rows.add_totals(connection, source, {"lost": records})
