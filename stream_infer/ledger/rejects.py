"""Rejects after the commit: queries, replays, and how far each target has been published to."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, bindparam, func, insert, select, update

from stream_infer import crash
from stream_infer.ledger import rows, schema
from stream_infer.ledger.store import Store
from stream_infer.rejects import DeadLetter, RejectQuery, RejectStatus, State
from stream_infer.splits import Reject, Split

_NAMES = tuple(Reject.__dataclass_fields__)
_OLDEST_REQUEST = (  # asked at each look, so built once
    select(schema.requests)
    .where(schema.WAITING, schema.requests.c.source == bindparam("source"))
    .order_by(schema.requests.c.seq)
    .limit(1)
)


class Rejecting(Store):
    """Queries of rejects, requests to replay them, and how far each target has been published to."""

    def rejected(
        self, conditions: RejectQuery, limit: int = 1000, offset: int = 0, newest: bool = False
    ) -> list[RejectStatus]:
        """Rejects in the order in which they were first committed, or backwards, without their samples."""
        order = schema.rejects.c.seq.desc() if newest else schema.rejects.c.seq
        statuses: list[RejectStatus] = []
        for where in _clauses(conditions):
            query = select(schema.rejects).where(*where).order_by(order)
            with self._reading() as connection:
                page = query.limit(limit - len(statuses)).offset(offset if not conditions.records else 0)
                statuses += [_status(row) for row in connection.execute(page)]
            if len(statuses) >= limit:
                break
        return statuses

    def rejected_record(self, record_id: str) -> tuple[list[RejectStatus], list[DeadLetter]]:
        """One record's reject with its sample, for each source that read it, and every rejection of it."""
        table, events, samples = schema.rejects, schema.rejections, schema.samples
        now = select(table, samples.c.payload).join(samples, samples.c.event == table.c.event, isouter=True)
        past = _with_split(select(events)).where(events.c.record_id == record_id).order_by(events.c.seq)
        with self._reading() as connection:
            rows_of_record = connection.execute(now.where(table.c.record_id == record_id)).all()
            return [_status(row, row.payload) for row in rows_of_record], _letters(connection, past)

    def request_replay(self, conditions: RejectQuery) -> int:
        """Ask for the open rejects that match now to be planned again; returns how many match.

        Takes no epoch: any process may ask, whoever owns the ledger. Nothing is written where nothing matches.
        """
        counts: dict[str, int] = {}
        with self._lock, self._writing() as connection:
            for where in _clauses(conditions):
                query = select(schema.rejects.c.source, func.count()).where(*where, schema.TO_REPLAY)
                for source, count in connection.execute(query.group_by(schema.rejects.c.source)):
                    counts[source] = counts.get(source, 0) + count
            asked = {
                "error": conditions.error,
                "since": conditions.since,
                "until": conditions.until,
                "records": orjson.dumps(conditions.records).decode() if conditions.records else None,
                "upto": connection.scalar(select(func.max(schema.rejections.c.seq))) or 0,
                "requested_at": time.time(),
            }
            if counts:
                connection.execute(insert(schema.requests), [{"source": source, **asked} for source in sorted(counts)])
            crash.point("ledger.request.row")
        crash.point("ledger.request.committed")
        return sum(counts.values())

    def replayable(self, source: str, limit: int) -> list[tuple[RejectStatus, Split]]:
        """Open rejects of the oldest request, each with its split; empty without a request.

        A request that no open reject matches any more is done.
        """
        while True:
            with self._reading() as connection:
                request = connection.execute(_OLDEST_REQUEST, {"source": source}).first()
                if request is None:
                    return []
                if open_rejects := _of_request(connection, request, limit):
                    return open_rejects
            self._request_done(request.seq)

    def _request_done(self, seq: int) -> None:
        done = update(schema.requests).where(schema.requests.c.seq == seq).values(done_at=time.time())

        def work(connection: Connection) -> None:
            connection.execute(done)

        self._write(("answer", seq), work)

    def replay(self, source: str, again: Sequence[tuple[RejectStatus, Split]]) -> list[Split]:
        """Plan rejects anew: each with its new split, in ONE transaction; returns the splits that are new.

        A reject that is not open any more, or was planned anew meanwhile, is left as it is.

        Raises:
            Fenced: another instance owns the ledger.
            Retryable: call again with the same arguments.
        """

        def work(connection: Connection) -> list[Split]:
            kept = [split for status, split in again if _reopen(connection, status, split)]
            added = rows.insert_splits(connection, kept)
            if moved := len(kept):
                rows.add_totals(connection, source, {"rejected": -moved})
            return added

        return self._write(("replay", source, tuple(split.split_id for _, split in again)), work)

    def restore_replay(self, record_id: str, split: Split) -> None:
        """Plan the replay that a file is of, in a ledger that is made anew.

        Where no receipt says why the record was rejected (its split left no file), the reject says so.
        """

        def work(connection: Connection) -> None:
            table = schema.rejects
            here = (table.c.record_id == record_id, table.c.source == split.source)
            existing = connection.execute(select(table.c.split_id, table.c.replay_split).where(*here)).first()
            rows.insert_splits(connection, [split])
            values = {"replays": split.replay, "replay_split": split.split_id}
            if existing is None:
                reason = "it was rejected before the ledger was made anew"
                reject = Reject(record_id, split.source, "read", "unknown", reason, 0, split.planned_at, whole=True)
                named = {name: getattr(reject, name) for name in _NAMES}
                connection.execute(insert(table).values(**named, **values, split_id=split.split_id))
                return
            connection.execute(update(table).where(*here).values(values))
            if existing.replay_split is None:
                _take_out(connection, existing.split_id)
                rows.add_totals(connection, split.source, {"rejected": -1})

        self._write(("restore", split.split_id), work)

    def unpublished(self, target: str, most: int) -> list[DeadLetter]:
        """Dead letters that were not published to the target yet, oldest first, and never a part of a split's.

        ``most`` is exceeded by a split that has more.
        """
        events = schema.rejections
        with self._reading() as connection:
            last = connection.scalar(select(schema.published.c.seq).where(schema.published.c.target == target)) or 0
            query = _with_split(select(events)).order_by(events.c.seq)
            letters = _letters(connection, query.where(events.c.seq > last).limit(most))
            if len(letters) == most:
                end = letters[-1]
                more = query.where(events.c.seq > end.seq, events.c.split_id == end.split.split_id)
                letters += _letters(connection, more)
        return letters

    def publish(self, target: str, upto: int) -> None:
        """Remember that every dead letter up to this one was published to the target."""
        table = schema.published

        def work(connection: Connection) -> None:
            moved = update(table).where(table.c.target == target).values(seq=upto)
            if not connection.execute(moved).rowcount:
                connection.execute(insert(table).values(target=target, seq=upto))

        self._write(("publish", target, upto), work)

    def keep_samples(self, payloads: Mapping[int, bytes]) -> None:
        """Keep the beginning of payloads, by `DeadLetter.seq`."""

        def work(connection: Connection) -> None:
            table = schema.samples
            stored = set(connection.scalars(select(table.c.event).where(table.c.event.in_(list(payloads)))))
            fresh = [{"event": event, "payload": data} for event, data in payloads.items() if event not in stored]
            if fresh:
                connection.execute(insert(table), fresh)

        if payloads:
            self._write(("sample", tuple(payloads)), work)


def resolve(connection: Connection, split_ids: Sequence[str], now: float) -> None:
    """Rejects whose replay is final without rejecting them again."""
    table = schema.rejects
    for some in schema.chunks(split_ids):
        here = (table.c.replay_split.in_(some), table.c.resolved_at.is_(None))
        connection.execute(update(table).where(*here).values(resolved_at=now))


def replayed_records(connection: Connection, split_ids: Sequence[str]) -> dict[str, str]:
    """By split id of a replay the record that it reads again."""
    table = schema.rejects
    records_by_split: dict[str, str] = {}
    for some in schema.chunks(split_ids):
        query = select(table.c.replay_split, table.c.record_id).where(table.c.replay_split.in_(some))
        records_by_split.update((row.replay_split, row.record_id) for row in connection.execute(query))
    return records_by_split


def _reopen(connection: Connection, status: RejectStatus, split: Split) -> bool:
    """Take a reject out of the split that was committed with it; False if it changed since the caller read it."""
    table, record = schema.rejects, status.reject
    here = (table.c.record_id == record.record_id, table.c.source == record.source, schema.TO_REPLAY)
    taken = update(table).where(*here, table.c.replays == split.replay - 1)
    values = {"replays": split.replay, "replay_split": split.split_id}
    split_id = connection.scalar(taken.values(values).returning(table.c.split_id))
    if split_id is None:
        return False
    _take_out(connection, split_id)
    return True


def _take_out(connection: Connection, split_id: str) -> None:
    counted = schema.splits.c.rejected
    was = update(schema.splits).where(schema.splits.c.split_id == split_id, counted > 0)
    connection.execute(was.values(rejected=counted - 1))


def _clauses(conditions: RejectQuery) -> Iterator[list[ColumnElement[bool]]]:
    """Conditions on ``ledger_rejects``: one list, or several that together name the records."""
    table = schema.rejects.c
    where: list[ColumnElement[bool]] = []
    if conditions.source is not None:
        where.append(table.source == conditions.source)
    if conditions.error is not None:
        where.append(table.error == conditions.error)
    if conditions.since is not None:
        where.append(table.rejected_at >= conditions.since)
    if conditions.until is not None:
        where.append(table.rejected_at < conditions.until)
    if conditions.state is not None:
        where.append(_STATES[conditions.state])
    if not conditions.records:
        yield where
    for some in schema.chunks(conditions.records):
        yield [*where, table.record_id.in_(some)]


_STATES: Mapping[State, ColumnElement[bool]] = {
    State.OPEN: schema.TO_REPLAY,
    State.REPLAYING: and_(schema.rejects.c.replay_split.is_not(None), schema.rejects.c.resolved_at.is_(None)),
    State.RESOLVED: schema.rejects.c.resolved_at.is_not(None),
}


def _of_request(connection: Connection, request: Row[Any], limit: int) -> list[tuple[RejectStatus, Split]]:
    records = tuple(orjson.loads(request.records)) if request.records else ()
    conditions = RejectQuery(request.source, request.error, request.since, request.until, records)
    table, splits = schema.rejects, schema.splits
    open_rejects: list[tuple[RejectStatus, Split]] = []
    for where in _clauses(conditions):
        query = (
            select(table, splits.c.document, splits.c.attempts.label("tries"))
            .join(splits, splits.c.split_id == table.c.split_id)
            .where(*where, schema.TO_REPLAY, table.c.event <= request.upto)
            .order_by(table.c.seq)
            .limit(limit - len(open_rejects))
        )
        open_rejects += [(_status(row), Split.from_json(row.document)) for row in connection.execute(query)]
        if len(open_rejects) >= limit:
            break
    return open_rejects


def _status(row: Row[Any], sample: bytes | None = None) -> RejectStatus:
    state = State.REPLAYING if row.resolved_at is None else State.RESOLVED
    if row.replay_split is None:
        state = State.OPEN
    return RejectStatus(_reject(row), state, row.replays, row.split_id, row.replay_split, row.resolved_at, sample)


def _reject(row: Row[Any]) -> Reject:
    return Reject(**{name: row._mapping[name] for name in _NAMES})


def _with_split(query: Select[Any]) -> Select[Any]:
    same = schema.splits.c.split_id == schema.rejections.c.split_id
    return query.add_columns(schema.splits.c.document).join(schema.splits, same)


def _letters(connection: Connection, query: Select[Any]) -> list[DeadLetter]:
    events = connection.execute(query).all()
    return [DeadLetter(row.seq, _reject(row), row.replay, Split.from_json(row.document)) for row in events]
