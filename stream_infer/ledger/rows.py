"""Rows of the ledger's tables to and from the types of `stream_infer.splits`, and idempotent inserts.

Writers are serialised by the fence, so "which exist already?" followed by an INSERT needs no dialect's upsert.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Column, Connection, Row, func, insert, select, update

from stream_infer.bounds import log_range
from stream_infer.ledger import schema
from stream_infer.splits import Loss, Reject, Split


def to_split(row: Row[*tuple[Any, ...]]) -> Split:
    """The split with its stored attempt count."""
    return replace(Split.from_json(row.document), attempt=row.attempts)


def to_dict(row: Row[*tuple[Any, ...]]) -> dict[str, Any]:
    """The split as a JSON document for a person; times are seconds since the epoch."""
    split = Split.from_json(row.document)
    same = ("split_id", "state", "source", "file", "attempts", "planned_at", "records")
    counts = ("rows", "rejected", "lost", "bytes_in", "bytes_out", "model")
    shown = {name: getattr(row, name) for name in (*same, *counts)}
    shown["committed_at"] = row.finished_at if row.state in (schema.COMMITTED, schema.REJECTED) else None
    shown["seconds"] = orjson.loads(row.seconds) if row.seconds else {}
    return shown | {"bounds": split.bounds, "folder": split.folder, "parent": split.parent, "depth": split.depth}


def existing(connection: Connection, column: Column[Any], values: Sequence[str], *where: Any) -> set[str]:
    """The values that the column already holds."""
    stored: set[str] = set()
    for some in schema.chunks(values):
        stored.update(connection.scalars(select(column).where(column.in_(some), *where)))
    return stored


def insert_splits(connection: Connection, splits: Iterable[Split], root: int | None = None) -> list[Split]:
    """Store those splits that are new, in order; returns them."""
    wanted = {split.split_id: split for split in splits}
    for split_id in existing(connection, schema.splits.c.split_id, list(wanted)):
        del wanted[split_id]
    if not wanted:
        return []
    # Numbered here, not by the database: the order of dispatch must be the order of planning.
    first = (connection.scalar(select(func.max(schema.splits.c.seq))) or 0) + 1
    rows = [_row(split, seq, root) for seq, split in enumerate(wanted.values(), first)]
    connection.execute(insert(schema.splits), rows)
    return list(wanted.values())


def _row(split: Split, seq: int, root: int | None) -> dict[str, Any]:
    # a replay is no part of the order of its partition: it must not hold back the committed offsets
    bounds = None if split.replay else log_range(split.bounds)
    return {
        "seq": seq,
        "root": root,
        "split_id": split.split_id,
        "source": split.source,
        "state": schema.PLANNED,
        "position_key": bounds.position_key if bounds is not None else None,
        "range_start": bounds.start if bounds is not None else None,
        "range_stop": bounds.stop if bounds is not None else None,
        "document": replace(split, attempt=0).to_json(),
        "records": split.records,
        "planned_at": split.planned_at,
        "attempts": 0,
    }


def insert_rejects(connection: Connection, rejects: Sequence[tuple[str, Reject]]) -> None:
    """Store (split_id, reject) pairs of records that are no rejects yet, or that the split of their replay rejects again."""
    if not rejects:
        return
    seq = connection.scalar(select(func.max(schema.rejections.c.seq))) or 0
    fresh: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    latest = _latest_rejections(connection, rejects)
    for split_id, reject in rejects:
        name = (reject.source, reject.record_id)
        previous = latest.get(name)
        if previous is not None and previous.replay_split != split_id:
            continue
        seq += 1
        values = {field: getattr(reject, field) for field in Reject.__dataclass_fields__} | {"split_id": split_id}
        events.append({"seq": seq, "replay": previous.replays if previous is not None else 0, **values})
        if previous is None:
            fresh.append({"event": seq, **values})
        else:
            again = {"event": seq, "replay_split": None, "resolved_at": None, **values}
            connection.execute(update(schema.rejects).where(schema.rejects.c.seq == previous.seq).values(again))
        latest[name] = _Rejection(0, 0, "")  # within one call the first of a record wins
    for table, stored in ((schema.rejects, fresh), (schema.rejections, events)):
        if stored:
            connection.execute(insert(table), stored)


class _Rejection(NamedTuple):
    seq: int
    replays: int
    replay_split: str | None


def _latest_rejections(
    connection: Connection, rejects: Sequence[tuple[str, Reject]]
) -> dict[tuple[str, str], _Rejection]:
    """The stored rejects of these records, by source and record."""
    table = schema.rejects
    columns = (table.c.source, table.c.record_id, table.c.seq, table.c.replays, table.c.replay_split)
    by_record: dict[tuple[str, str], _Rejection] = {}
    for some in schema.chunks(list({reject.record_id for _, reject in rejects})):
        for row in connection.execute(select(*columns).where(table.c.record_id.in_(some))):
            by_record[row.source, row.record_id] = _Rejection(row.seq, row.replays, row.replay_split)
    return by_record


def insert_losses(connection: Connection, losses: Sequence[tuple[str, Loss]]) -> list[Loss]:
    """Store (split_id, loss) pairs whose record is not a loss yet; returns the new losses."""
    table = schema.losses
    by_source: dict[str, dict[str, tuple[str, Loss]]] = {}
    for split_id, item in losses:
        by_source.setdefault(item.source, {}).setdefault(item.record_id, (split_id, item))
    new: list[Loss] = []
    rows: list[dict[str, Any]] = []
    columns = [column.name for column in table.c if column.name not in ("seq", "split_id")]
    for source, items in by_source.items():
        old = existing(connection, table.c.record_id, list(items), table.c.source == source)
        for record_id, (split_id, item) in items.items():
            if record_id not in old:
                new.append(item)
                rows.append({name: getattr(item, name) for name in columns} | {"split_id": split_id})
    if rows:
        connection.execute(insert(table), rows)
    return new


def add_totals(
    connection: Connection, source: str, counts: Mapping[str, int], last_commit: float | None = None
) -> None:
    """Add to a source's sums; ``last_commit`` is seconds since the epoch."""
    table = schema.totals
    values: dict[str, Any] = {name: table.c[name] + count for name, count in counts.items() if count}
    if last_commit is not None:
        values["last_commit"] = last_commit
    if not values:
        return
    if connection.execute(update(table).where(table.c.source == source).values(values)).rowcount:
        return
    fresh = {**counts, **({} if last_commit is None else {"last_commit": last_commit})}
    connection.execute(insert(table).values(source=source, **fresh))
