"""Rejects after they were committed: which there are, what is planned anew, and who was told of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, bindparam, func, insert, select, update

from stream_infer import crash
from stream_infer.ledger import rows, schema
from stream_infer.ledger.store import Store
from stream_infer.rejects import Rejected, RejectFilter, Rejection, State
from stream_infer.splits import Reject, Split

_NAMES = tuple(Reject.__dataclass_fields__)
_OLDEST_REQUEST = (  # asked at each look, so built once
    select(schema.requests)
    .where(schema.WAITING, schema.requests.c.source == bindparam("source"))
    .order_by(schema.requests.c.seq)
    .limit(1)
)


class Rejecting(Store):
    """Questions about rejects, requests to replay them, and the places up to which targets have been told."""

    def rejected(
        self, chosen: RejectFilter, limit: int = 1000, offset: int = 0, newest: bool = False
    ) -> list[Rejected]:
        """Rejects in the order in which they were first committed, or backwards, without their samples."""
        order = schema.rejects.c.seq.desc() if newest else schema.rejects.c.seq
        found: list[Rejected] = []
        for where in _conditions(chosen):
            query = select(schema.rejects).where(*where).order_by(order)
            with self._reading() as connection:
                page = query.limit(limit - len(found)).offset(offset if not chosen.records else 0)
                found += [_rejected(row) for row in connection.execute(page)]
            if len(found) >= limit:
                break
        return found

    def rejected_record(self, record_id: str) -> tuple[list[Rejected], list[Rejection]]:
        """One record's reject, sample included (of each source that read it), and every time it was rejected."""
        table, events, samples = schema.rejects, schema.rejections, schema.samples
        now = select(table, samples.c.payload).join(samples, samples.c.event == table.c.event, isouter=True)
        past = _with_split(select(events)).where(events.c.record_id == record_id).order_by(events.c.seq)
        with self._reading() as connection:
            found = connection.execute(now.where(table.c.record_id == record_id)).all()
            return [_rejected(row, row.payload) for row in found], _rejections(connection, past)

    def request_replay(self, chosen: RejectFilter) -> int:
        """Ask for the open rejects that match now to be planned again; returns how many match.

        Takes no epoch: any process may ask, whoever owns the ledger. Nothing is written where nothing matches.
        """
        counts: dict[str, int] = {}
        with self._lock, self._writing() as connection:
            for where in _conditions(chosen):
                query = select(schema.rejects.c.source, func.count()).where(*where, schema.TO_REPLAY)
                for source, count in connection.execute(query.group_by(schema.rejects.c.source)):
                    counts[source] = counts.get(source, 0) + count
            asked = {
                "error": chosen.error,
                "since": chosen.since,
                "until": chosen.until,
                "records": orjson.dumps(chosen.records).decode() if chosen.records else None,
                "upto": connection.scalar(select(func.max(schema.rejections.c.seq))) or 0,
                "requested_at": time.time(),
            }
            if counts:
                connection.execute(insert(schema.requests), [{"source": source, **asked} for source in sorted(counts)])
            crash.point("ledger.request.row")
        crash.point("ledger.request.committed")
        return sum(counts.values())

    def replayable(self, source: str, limit: int) -> list[tuple[Rejected, Split]]:
        """Open rejects that the oldest request means, each with the split it stood in; empty when nobody asks.

        A request that means nothing any more is done.
        """
        while True:
            with self._reading() as connection:
                request = connection.execute(_OLDEST_REQUEST, {"source": source}).first()
                if request is None:
                    return []
                if found := _asked_for(connection, request, limit):
                    return found
            self._request_done(request.seq)

    def _request_done(self, seq: int) -> None:
        done = update(schema.requests).where(schema.requests.c.seq == seq).values(done_at=time.time())

        def work(connection: Connection) -> None:
            connection.execute(done)

        self._write(("answer", seq), work)

    def replay(self, source: str, again: Sequence[tuple[Rejected, Split]]) -> list[Split]:
        """Plan rejects anew: each with its new split, in ONE transaction; returns the splits that are new.

        A reject that is not open any more, or was planned anew meanwhile, is left as it is.

        Raises:
            Fenced: another instance owns the ledger.
            Retryable: call again with the same arguments.
        """

        def work(connection: Connection) -> list[Split]:
            kept = [split for rejected, split in again if _reopen(connection, rejected, split)]
            added = rows.insert_splits(connection, kept)
            if moved := len(kept):
                rows.add_totals(connection, source, {"rejected": -moved})
            return added

        return self._write(("replay", source, tuple(split.split_id for _, split in again)), work)

    def restore_replay(self, record_id: str, split: Split) -> None:
        """Plan the replay that a file speaks of, in a ledger that is made anew.

        Where no receipt tells why the record was rejected (its split left no file), the reject says so.
        """

        def work(connection: Connection) -> None:
            table = schema.rejects
            here = (table.c.record_id == record_id, table.c.source == split.source)
            standing = connection.execute(select(table.c.split_id, table.c.replay_split).where(*here)).first()
            rows.insert_splits(connection, [split])
            values = {"replays": split.replay, "replay_split": split.split_id}
            if standing is None:
                reason = "it was rejected before the ledger was made anew"
                reject = Reject(record_id, split.source, "read", "unknown", reason, 0, split.planned_at, whole=True)
                named = {name: getattr(reject, name) for name in _NAMES}
                connection.execute(insert(table).values(**named, **values, split_id=split.split_id))
                return
            connection.execute(update(table).where(*here).values(values))
            if standing.replay_split is None:
                _take_out(connection, standing.split_id)
                rows.add_totals(connection, split.source, {"rejected": -1})

        self._write(("restore", split.split_id), work)

    def unpublished(self, target: str, most: int) -> list[Rejection]:
        """Rejections that the target was not told of, oldest first, and never a part of a split's.

        ``most`` is exceeded by a split that has more.
        """
        events = schema.rejections
        with self._reading() as connection:
            last = connection.scalar(select(schema.published.c.seq).where(schema.published.c.target == target)) or 0
            query = _with_split(select(events)).order_by(events.c.seq)
            found = _rejections(connection, query.where(events.c.seq > last).limit(most))
            if len(found) == most:
                end = found[-1]
                more = query.where(events.c.seq > end.seq, events.c.split_id == end.split.split_id)
                found += _rejections(connection, more)
        return found

    def publish(self, target: str, upto: int) -> None:
        """Remember that the target was told of every rejection up to this one."""
        table = schema.published

        def work(connection: Connection) -> None:
            moved = update(table).where(table.c.target == target).values(seq=upto)
            if not connection.execute(moved).rowcount:
                connection.execute(insert(table).values(target=target, seq=upto))

        self._write(("publish", target, upto), work)

    def keep_samples(self, payloads: Mapping[int, bytes]) -> None:
        """Keep the beginning of payloads, by `Rejection.seq`."""

        def work(connection: Connection) -> None:
            table = schema.samples
            found = select(table.c.event).where(table.c.event.in_(list(payloads)))
            old = set(connection.scalars(found))
            fresh = [{"event": event, "payload": data} for event, data in payloads.items() if event not in old]
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
    """The record that each replay's split stands for."""
    table = schema.rejects
    found: dict[str, str] = {}
    for some in schema.chunks(split_ids):
        query = select(table.c.replay_split, table.c.record_id).where(table.c.replay_split.in_(some))
        found.update((row.replay_split, row.record_id) for row in connection.execute(query))
    return found


def _reopen(connection: Connection, rejected: Rejected, split: Split) -> bool:
    """Take a reject out of the split that was committed with it; False if it is not as the caller knew it."""
    table, record = schema.rejects, rejected.reject
    here = (table.c.record_id == record.record_id, table.c.source == record.source, schema.TO_REPLAY)
    taken = update(table).where(*here, table.c.replays == split.replay - 1)
    values = {"replays": split.replay, "replay_split": split.split_id}
    stood_in = connection.scalar(taken.values(values).returning(table.c.split_id))
    if stood_in is None:
        return False
    _take_out(connection, stood_in)
    return True


def _take_out(connection: Connection, split_id: str) -> None:
    counted = schema.splits.c.rejected
    was = update(schema.splits).where(schema.splits.c.split_id == split_id, counted > 0)
    connection.execute(was.values(rejected=counted - 1))


def _conditions(chosen: RejectFilter) -> Iterator[list[ColumnElement[bool]]]:
    """Conditions on ``ledger_rejects``: one list, or several that together name the records."""
    table = schema.rejects.c
    where: list[ColumnElement[bool]] = []
    if chosen.source is not None:
        where.append(table.source == chosen.source)
    if chosen.error is not None:
        where.append(table.error == chosen.error)
    if chosen.since is not None:
        where.append(table.rejected_at >= chosen.since)
    if chosen.until is not None:
        where.append(table.rejected_at < chosen.until)
    if chosen.state is not None:
        where.append(_STATES[chosen.state])
    if not chosen.records:
        yield where
    for some in schema.chunks(chosen.records):
        yield [*where, table.record_id.in_(some)]


_STATES: Mapping[State, ColumnElement[bool]] = {
    State.OPEN: schema.TO_REPLAY,
    State.REPLAYING: and_(schema.rejects.c.replay_split.is_not(None), schema.rejects.c.resolved_at.is_(None)),
    State.RESOLVED: schema.rejects.c.resolved_at.is_not(None),
}


def _asked_for(connection: Connection, request: Row[Any], limit: int) -> list[tuple[Rejected, Split]]:
    records = tuple(orjson.loads(request.records)) if request.records else ()
    chosen = RejectFilter(request.source, request.error, request.since, request.until, records)
    table, splits = schema.rejects, schema.splits
    found: list[tuple[Rejected, Split]] = []
    for where in _conditions(chosen):
        query = (
            select(table, splits.c.document, splits.c.attempts.label("tries"))
            .join(splits, splits.c.split_id == table.c.split_id)
            .where(*where, schema.TO_REPLAY, table.c.event <= request.upto)
            .order_by(table.c.seq)
            .limit(limit - len(found))
        )
        found += [(_rejected(row), Split.from_json(row.document)) for row in connection.execute(query)]
        if len(found) >= limit:
            break
    return found


def _rejected(row: Row[Any], sample: bytes | None = None) -> Rejected:
    state = State.REPLAYING if row.resolved_at is None else State.RESOLVED
    if row.replay_split is None:
        state = State.OPEN
    return Rejected(_reject(row), state, row.replays, row.split_id, row.replay_split, row.resolved_at, sample)


def _reject(row: Row[Any]) -> Reject:
    return Reject(**{name: row._mapping[name] for name in _NAMES})


def _with_split(query: Select[Any]) -> Select[Any]:
    same = schema.splits.c.split_id == schema.rejections.c.split_id
    return query.add_columns(schema.splits.c.document).join(schema.splits, same)


def _rejections(connection: Connection, query: Select[Any]) -> list[Rejection]:
    found = connection.execute(query).all()
    return [Rejection(row.seq, _reject(row), row.replay, Split.from_json(row.document)) for row in found]
