"""Queries of the ledger: sums, status, rejects, losses, and the splits of a record. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from sqlalchemy import Select, Table, case, func, or_, select

from stream_infer.ledger import rows, schema
from stream_infer.ledger.store import Store
from stream_infer.splits import Loss, Reject

_PAGE = 5000
_REJECT = [schema.rejects.c[name] for name in Reject.__dataclass_fields__]
_LOSS = [schema.losses.c[name] for name in Loss.__dataclass_fields__]


class Auditing(Store):
    """Read-only queries. Each answers from one snapshot."""

    def audit(self) -> dict[str, int]:
        """Records by fate: ``planned = committed + rejected + in_flight + lost``.

        A split counts with its estimate (for offsets an upper bound) until it is final, then with the numbers of its receipt.
        Running sums hold the final splits; only unfinished ones are read.
        """
        table, sums = schema.splits, schema.totals.c
        final = select(*(func.coalesce(func.sum(column), 0) for column in (sums.rows, sums.rejected, sums.lost)))
        waiting = select(func.coalesce(func.sum(table.c.records), 0)).where(schema.OPEN)
        with self._reading() as connection:
            committed, rejected, lost = map(int, connection.execute(final).one())
            in_flight = int(connection.scalar(waiting) or 0)
        return _fates(committed, rejected, in_flight, lost)

    def recount(self) -> dict[str, int]:
        """`audit` without the running sums: reads every split. The two are equal unless the sums are wrong."""
        table = schema.splits
        waiting = case((schema.OPEN, table.c.records), else_=0)
        sums = [
            func.coalesce(func.sum(column), 0) for column in (table.c.rows, table.c.rejected, waiting, table.c.lost)
        ]
        unplanned_losses = select(func.coalesce(func.sum(schema.losses.c.records), 0)).where(
            schema.losses.c.split_id == ""
        )
        with self._reading() as connection:
            committed, rejected, in_flight, lost = map(int, connection.execute(select(*sums)).one())
            lost += int(connection.scalar(unplanned_losses) or 0)
        return _fates(committed, rejected, in_flight, lost)

    def status(self) -> dict[str, Any]:
        """Epoch, owner and, under ``sources``, each source's splits by state, sums, last commit and positions.

        Costs as much as there are sources, positions and unfinished splits; committed ones are not scanned.
        """
        table = schema.splits
        grouped = select(table.c.source, table.c.state, func.count(), func.sum(table.c.records))
        waiting = grouped.where(schema.OPEN).group_by(table.c.source, table.c.state)
        sources: dict[str, dict[str, Any]] = {}
        with self._reading() as connection:
            owner = connection.execute(select(schema.state)).one()
            for row in connection.execute(select(schema.totals)):
                _fill(sources.setdefault(row.source, _blank()), row._mapping)
            for source, state, count, records in connection.execute(waiting):
                entry = sources.setdefault(source, _blank())
                entry["splits"][state] = count
                entry["in_flight"] += int(records or 0)
            for row in connection.execute(select(schema.positions)):
                sources.setdefault(row.source, _blank())["positions"][row.key] = orjson.loads(row.value)
        head = {"epoch": owner.epoch, "owner": owner.owner, "acquired_at": owner.acquired_at}
        return {**head, "schema_version": owner.schema_version, "sources": sources}

    def rejects(self, source: str | None = None, limit: int = 1000, offset: int = 0) -> list[Reject]:
        """Rejects in the order in which they were committed."""
        query = _page(select(*_REJECT), schema.rejects, source, limit, offset)
        with self._reading() as connection:
            return [Reject(*row) for row in connection.execute(query)]

    def split(self, split_id: str) -> dict[str, Any] | None:
        """One split; None where the ledger does not hold it."""
        documents = self._shown(select(schema.splits).where(schema.splits.c.split_id == split_id))
        return documents[0] if documents else None

    def losses_near(self, text: str) -> list[Loss]:
        """Named losses whose first record has the text in its coordinate. Reads all of them: for a person's question."""
        holds = schema.losses.c.record_id.contains(text, autoescape=True)
        with self._reading() as connection:
            return [Loss(*row) for row in connection.execute(select(*_LOSS).where(holds))]

    def splits_for(self, position_key: str, offset: int) -> list[dict[str, Any]]:
        """Splits whose range holds the offset, oldest first: the planned one, then the halves it was bisected into."""
        table = schema.splits
        holds = (table.c.position_key == position_key, table.c.range_start <= offset, table.c.range_stop > offset)
        return self._shown(select(table).where(*holds).order_by(table.c.seq))

    def splits_for_object(self, object_id_prefix: str, limit: int = 1000) -> list[dict[str, Any]]:
        """Splits that claimed an object whose identity starts so, and all halves they were bisected into.

        ``limit`` bounds the number of claims. A half may hold only other objects of its batch: see its bounds.
        """
        table, claims = schema.splits, schema.objects
        # No code point sorts after U+10FFFF, and both databases compare this column by bytes.
        starts = (claims.c.object_id >= object_id_prefix, claims.c.object_id < object_id_prefix + "\U0010ffff")
        claimed = (
            select(claims.c.split_id).where(*starts, claims.c.split_id != "").order_by(claims.c.object_id).limit(limit)
        )
        roots = select(table.c.seq).where(table.c.split_id.in_(claimed))
        return self._shown(
            select(table).where(or_(table.c.seq.in_(roots), table.c.root.in_(roots))).order_by(table.c.seq)
        )

    def recent(self, limit: int = 50) -> list[dict[str, Any]]:
        """The splits planned last, newest first."""
        return self._shown(select(schema.splits).order_by(schema.splits.c.seq.desc()).limit(limit))

    def unplanned(self, split_ids: Sequence[str]) -> set[str]:
        """The splits that this ledger never planned."""
        with self._reading() as connection:
            return set(split_ids) - rows.existing(connection, schema.splits.c.split_id, split_ids)

    def files(self) -> Iterator[tuple[str, str, str | None, int]]:
        """(split_id, state, file, rows) of every split, read in pages, so that no transaction stays open between them."""
        table = schema.splits
        columns = (table.c.seq, table.c.split_id, table.c.state, table.c.file, table.c.rows)
        last = 0
        while True:
            query = select(*columns).where(table.c.seq > last).order_by(table.c.seq).limit(_PAGE)
            with self._reading() as connection:
                page = connection.execute(query).all()
            for row in page:
                yield row.split_id, row.state, row.file, row.rows
            if len(page) < _PAGE:
                return
            last = page[-1].seq

    def _shown(self, query: Select[Any]) -> list[dict[str, Any]]:
        with self._reading() as connection:
            return [rows.to_dict(row) for row in connection.execute(query)]


def _fates(committed: int, rejected: int, in_flight: int, lost: int) -> dict[str, int]:
    counts = {"committed": committed, "rejected": rejected, "in_flight": in_flight, "lost": lost}
    return {"planned": sum(counts.values()), **counts}


def _page(query: Select[Any], table: Table, source: str | None, limit: int, offset: int) -> Select[Any]:
    chosen = query if source is None else query.where(table.c.source == source)
    return chosen.order_by(table.c.seq).limit(limit).offset(offset)


def _blank() -> dict[str, Any]:
    splits = dict.fromkeys((schema.PLANNED, schema.RUNNING, schema.COMMITTED, schema.REJECTED, schema.BISECTED), 0)
    sums = dict.fromkeys(("rows", "rejected", "lost", "bytes_in", "bytes_out", "in_flight"), 0)
    return {"splits": splits, **sums, "last_commit": None, "positions": {}}


def _fill(entry: dict[str, Any], totals: Any) -> None:
    words = {schema.COMMITTED: "committed", schema.REJECTED: "refused", schema.BISECTED: "bisected"}
    entry["splits"].update({word: totals[column] for word, column in words.items()})
    entry.update({name: totals[name] for name in ("rows", "rejected", "lost", "bytes_in", "bytes_out", "last_commit")})
