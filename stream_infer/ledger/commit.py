"""Commits: the transactions that make a split final, and the acknowledgement that follows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import orjson
from sqlalchemy import Connection, Integer, Row, Select, bindparam, select, update

from stream_infer.errors import Fatal
from stream_infer.ledger import rows, schema
from stream_infer.ledger.rejects import replayed_records, resolve
from stream_infer.ledger.store import Store
from stream_infer.splits import Receipt, Reject, Split


def _unacknowledged() -> Select[tuple[str, int]]:
    table, piece = schema.splits, schema.splits.alias()
    open_piece = select(piece.c.seq).where(piece.c.root == table.c.root, piece.c.finished_at.is_(None)).exists()
    return (
        select(table.c.document, table.c.attempts)
        .where(schema.UNACKNOWLEDGED, table.c.source == bindparam("source"), ~open_piece)
        .order_by(table.c.seq)
        .limit(bindparam("most", type_=Integer))
    )


_UNACKNOWLEDGED = _unacknowledged()  # run at each plan, so built once


class Committing(Store):
    """Writes that make splits final. Each is fenced and may be called again after a Retryable."""

    def commit(self, receipts: Sequence[Receipt]) -> list[Split]:
        """Make the splits of the receipts final in ONE transaction; returns the splits that became final now.

        The first receipt of a split wins and brings its rejects and losses; later ones are ignored. A receipt that
        is ``retired`` or ``poisoned`` commits nothing: its split is for `bisect` or `reject`.

        Raises:
            Fenced: another instance owns the ledger.
            Retryable: call again with the same receipts.
            Fatal: a receipt names a split that this ledger never planned.
        """
        wanted: dict[str, Receipt] = {}
        for receipt in receipts:
            if not receipt.retired and receipt.poisoned is None:
                wanted.setdefault(receipt.split_id, receipt)
        if not wanted:
            return []
        return self._write(("commit", tuple(wanted)), lambda connection: _commit(connection, wanted))

    def bisect(self, parent: Split, children: Sequence[Split]) -> list[Split]:
        """Replace a split by its halves in one transaction; returns the halves that are new.

        They take the parent's position in the order of `unfinished`. Nothing happens if the parent is final already.
        """

        def work(connection: Connection) -> list[Split]:
            open_rows = _open(connection, [parent.split_id])
            if not open_rows:
                return []
            now = time.time()
            # The halves will be acknowledged, not their parent.
            values = {"state": schema.BISECTED, "finished_at": now, "acknowledged_at": now}
            connection.execute(update(schema.splits).where(schema.splits.c.seq == open_rows[0].seq).values(values))
            rows.add_totals(connection, parent.source, {"bisected": 1})
            return rows.insert_splits(connection, children, root=open_rows[0].root or open_rows[0].seq)

        return self._write(("bisect", parent.split_id), work)

    def reject(self, split: Split, rejects: Sequence[Reject]) -> None:
        """Make a split final without a file: all its records are rejects. Nothing happens if it is final already."""

        def work(connection: Connection) -> None:
            open_rows = _open(connection, [split.split_id])
            if not open_rows:
                return
            now = time.time()
            values = {"state": schema.REJECTED, "finished_at": now, "rejected": len(rejects)}
            connection.execute(update(schema.splits).where(schema.splits.c.seq == open_rows[0].seq).values(values))
            rows.insert_rejects(connection, [(split.split_id, item) for item in rejects])
            rows.add_totals(connection, split.source, {"refused": 1, "rejected": len(rejects)}, now)

        self._write(("reject", split.split_id), work)

    def unacknowledged(self, source: str, limit: int) -> list[Split]:
        """Committed and rejected splits, oldest first, that `Source.committed` has not confirmed.

        A piece of a bisection is left out until all are final: pieces may be rows of one object, which must stay.
        """
        with self._reading() as connection:
            page = connection.execute(_UNACKNOWLEDGED, {"source": source, "most": limit})
            return [rows.to_split(row) for row in page]

    def acknowledge(self, split_ids: Iterable[str]) -> None:
        """Remember that `Source.committed` returned for these splits."""
        ids = list(split_ids)

        def work(connection: Connection) -> None:
            for some in schema.chunks(ids):
                fresh = update(schema.splits).where(schema.splits.c.split_id.in_(some), schema.UNACKNOWLEDGED)
                connection.execute(fresh.values(acknowledged_at=time.time()))

        if ids:
            self._write(("acknowledge", tuple(ids)), work)


def _open(connection: Connection, split_ids: Sequence[str]) -> list[Row[*tuple[Any, ...]]]:
    table = schema.splits
    columns = (table.c.seq, table.c.root, table.c.split_id, table.c.source, table.c.document, table.c.attempts)
    open_rows: list[Row[*tuple[Any, ...]]] = []
    for some in schema.chunks(split_ids):
        open_rows += connection.execute(select(*columns).where(table.c.split_id.in_(some), schema.OPEN)).all()
    return open_rows


def _commit(connection: Connection, wanted: dict[str, Receipt]) -> list[Split]:
    stored = rows.existing(connection, schema.splits.c.split_id, list(wanted))
    if unplanned := wanted.keys() - stored:
        raise Fatal(f"a receipt names split {min(unplanned)}, which this ledger never planned: check the ledger's URL")
    open_rows = {row.split_id: row for row in _open(connection, list(wanted))}
    accepted = [receipt for split_id, receipt in wanted.items() if split_id in open_rows]
    if not accepted:
        return []
    now = time.time()
    again = [receipt.split_id for receipt in accepted if receipt.replay]
    if again:
        records = replayed_records(connection, again)
        accepted = [_still_rejected(receipt, records.get(receipt.split_id), now) for receipt in accepted]
    table = schema.splits
    values = [_values(receipt, open_rows[receipt.split_id].seq, now) for receipt in accepted]
    names = [name for name in values[0] if name != "at"]
    final = update(table).where(table.c.seq == bindparam("at")).values({name: bindparam(name) for name in names})
    connection.execute(final, values)
    rows.insert_rejects(connection, [(receipt.split_id, item) for receipt in accepted for item in receipt.rejects])
    resolve(connection, again, now)
    rows.insert_losses(connection, [(receipt.split_id, item) for receipt in accepted for item in receipt.losses])
    sums: dict[str, Counter[str]] = {}
    for receipt, row in zip(accepted, values, strict=True):
        counts = {name: row[name] for name in ("rows", "rejected", "lost", "bytes_in", "bytes_out")}
        word = "refused" if row["state"] == schema.REJECTED else "committed"
        sums.setdefault(open_rows[receipt.split_id].source, Counter()).update({**counts, word: 1})
    for source, counted in sums.items():
        rows.add_totals(connection, source, counted, now)
    return [rows.to_split(open_rows[receipt.split_id]) for receipt in accepted]


def _still_rejected(receipt: Receipt, record_id: str | None, now: float) -> Receipt:
    """The receipt of a replay that read nothing, with its record as a reject again: a replay turns no reject into a loss."""
    if record_id is None or receipt.rows or receipt.rejects:
        return receipt
    error = receipt.losses[0].reason if receipt.losses else "gone"
    reason = "the record is not at its coordinate any more, so it cannot be replayed"
    reject = Reject(record_id, receipt.source, "read", error, reason, receipt.attempt, now, whole=True)
    return replace(receipt, rejects=(reject,), losses=())


def _values(receipt: Receipt, seq: int, now: float) -> dict[str, Any]:
    alone = receipt.rows == 0 and bool(receipt.rejects) and receipt.records == 1
    return {
        "at": seq,
        "state": schema.REJECTED if alone else schema.COMMITTED,
        "finished_at": now,
        "file": receipt.file,
        "rows": receipt.rows,
        "rejected": len(receipt.rejects),
        "lost": sum(loss.records for loss in receipt.losses),
        "bytes_in": receipt.bytes_in,
        "bytes_out": receipt.bytes_out,
        "attempt": receipt.attempt,
        "model": receipt.model,
        "seconds": orjson.dumps(dict(receipt.seconds)).decode(),
    }
