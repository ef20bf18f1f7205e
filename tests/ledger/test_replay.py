"""Rejects that are planned anew: each once, whatever is lost on the way; the audit stays whole. On both databases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from stream_infer.contracts import Planned
from stream_infer.ledger import Ledger, schema
from stream_infer.ledger.store import parse_url
from stream_infer.maintenance.where import where
from stream_infer.rejects import RejectQuery, RejectStatus, State
from stream_infer.splits import Loss, Receipt, Reject, Split

ALL = RejectQuery()
ROW, AGAIN, NOTHING, LOST = "row", "again", "nothing", "lost"


def _open(url: str) -> Ledger:
    ledger = Ledger.open(url, {})
    ledger.acquire("test")
    return ledger


def _name(offset: int) -> str:
    return f"kafka://c/t/0/{offset}"


def _reject(offset: int, error: str = "ValueError", at: float = 100.0) -> Reject:
    return Reject(_name(offset), "s", "infer", error, "no", 1, at)


def _committed(ledger: Ledger, start: int, stop: int, rejects: list[Reject]) -> Split:
    bounds = {"position_key": "t/0", "start": start, "stop": stop, "cluster": "c", "topic": "t", "partition": 0}
    split = Split.of("s", bounds, folder="f", records=stop - start, bytes=stop - start)
    ledger.plan("s", [Planned(split, positions={"t/0": stop})])
    rows = stop - start - len(rejects)
    file = f"f/{split.split_id}" if rows else None
    ledger.commit([Receipt(split.split_id, "s", 1, bounds, file=file, rows=rows, rejects=tuple(rejects))])
    return split


def _again(rejected: RejectStatus, split: Split) -> Split:
    offset = int(rejected.reject.record_id.rpartition("/")[2])
    bounds = {**split.bounds, "start": offset, "stop": offset + 1, "replay": rejected.replays + 1}
    return Split.of("s", bounds, folder=split.folder, records=1, bytes=1)


def _planned(ledger: Ledger, most: int = 100) -> list[Split]:
    asked = ledger.replayable("s", most)
    again = [(rejected, _again(rejected, split)) for rejected, split in asked]
    planned = ledger.replay("s", again) if again else []
    assert planned == [split for _, split in again]
    return planned


def _receipt(split: Split, fate: str) -> Receipt:
    offset = split.bounds["start"]
    made = Receipt(split.split_id, "s", 1, split.bounds)
    if fate == ROW:
        return replace(made, rows=1, file=f"f/{split.split_id}")
    if fate == AGAIN:
        return replace(made, rejects=(_reject(offset, "TypeError", 200.0),))
    return replace(made, losses=(Loss(_name(offset), "s", "expired"),)) if fate == LOST else made


def _states(ledger: Ledger) -> dict[str, State]:
    return {item.reject.record_id: item.state for item in ledger.rejected(ALL)}


def test_a_reject_is_replayed_and_resolved(url: str) -> None:
    ledger = _open(url)
    first = _committed(ledger, 0, 10, [_reject(3)])
    assert ledger.request_replay(ALL) == 1
    (split,) = _planned(ledger)
    assert split.split_id not in (first.split_id, "")
    assert _states(ledger) == {_name(3): State.REPLAYING}
    assert ledger.audit() == ledger.recount() == {
        "planned": 10, "committed": 9, "rejected": 0, "in_flight": 1, "lost": 0
    }  # fmt: skip
    assert [fate.state for fate in where(ledger, _name(3))] == ["in_flight"]
    assert ledger.committed_offsets("s") == {"t/0": 10}  # a replay never holds back the consumer group
    assert ledger.unfinished() == [split]
    ledger.commit([_receipt(split, ROW)])
    assert _states(ledger) == {_name(3): State.RESOLVED}
    assert ledger.audit()["committed"] == 10
    (fate,) = where(ledger, _name(3))
    assert (fate.state, fate.split_id, fate.file) == ("committed", split.split_id, f"f/{split.split_id}")
    assert [fate.split_id for fate in where(ledger, "t/0/3")] == [split.split_id]
    assert [fate.split_id for fate in where(ledger, _name(4))] == [first.split_id]
    assert ledger.request_replay(ALL) == 0
    assert _planned(ledger) == []
    ledger.close()


def test_a_record_that_fails_again_is_a_reject_again_with_its_history(url: str) -> None:
    ledger = _open(url)
    _committed(ledger, 0, 4, [_reject(3)])
    identities = set()
    for replays, fate in enumerate((AGAIN, NOTHING, LOST), 1):
        ledger.request_replay(ALL)
        (split,) = _planned(ledger)
        ledger.commit([_receipt(split, fate)])
        identities.add(split.split_id)
        ((now,), _) = ledger.rejected_record(_name(3))
        assert (now.state, now.replays, now.split_id) == (State.OPEN, replays, split.split_id)
        assert ledger.audit() == ledger.recount()
        assert ledger.audit()["rejected"] == 1
    assert len(identities) == 3
    past = ledger.rejected_record(_name(3))[1]
    assert [event.reject.error for event in past] == ["ValueError", "TypeError", "gone", "expired"]
    assert [event.replay for event in past] == [0, 1, 2, 3]
    assert ledger.losses_near("") == []
    ledger.request_replay(ALL)
    (split,) = _planned(ledger)
    ledger.reject(split, [_reject(3, "Poisoned")])
    assert [fate.reason for fate in where(ledger, _name(3))] == ["Poisoned in infer: no"]
    assert ledger.audit() == ledger.recount()
    ledger.close()


def test_a_request_means_what_was_rejected_when_it_was_made(url: str) -> None:
    ledger = _open(url)
    _committed(ledger, 0, 4, [_reject(1), _reject(2, "KeyError", 150.0)])
    assert ledger.request_replay(RejectQuery(error="KeyError")) == 1
    assert ledger.request_replay(RejectQuery(records=(_name(1), _name(9)))) == 1
    assert ledger.request_replay(RejectQuery(source="other")) == 0
    assert ledger.request_replay(RejectQuery(since=101, until=150)) == 0
    _committed(ledger, 4, 8, [_reject(5, "KeyError")])
    splits = [split for _ in range(2) for split in _planned(ledger)]
    assert [split.bounds["start"] for split in splits] == [2, 1]
    ledger.commit([_receipt(split, AGAIN) for split in splits])
    assert _planned(ledger) == []  # rejected again later than the request
    assert set(_states(ledger).values()) == {State.OPEN}
    assert [item.reject.error for item in ledger.rejected(RejectQuery(state=State.OPEN))] == [
        "TypeError",
        "TypeError",
        "KeyError",
    ]
    assert ledger.rejected(RejectQuery(state=State.RESOLVED)) == []
    ledger.close()


@settings(max_examples=12, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_any_order_of_requests_commits_and_lost_replies_counts_each_record_once(
    new_url: Any, data: st.DataObject
) -> None:
    ledger = _open(new_url())
    rejected = data.draw(st.sets(st.integers(0, 9)))
    _committed(ledger, 0, 10, [_reject(offset) for offset in sorted(rejected)])
    rows = 10 - len(rejected)
    for _ in range(4):
        ledger.request_replay(RejectQuery(records=tuple(map(_name, data.draw(st.sets(st.integers(0, 9)))))))
        _planned(ledger, data.draw(st.integers(1, 5)))
        for split in ledger.unfinished():
            if fate := data.draw(st.sampled_from([None, ROW, AGAIN, NOTHING, LOST])):
                ledger.commit([_receipt(split, fate)] * 2)
                rows += fate == ROW
        states = list(_states(ledger).values())
        counts = ledger.audit()
        assert counts == ledger.recount()
        assert counts == {
            "planned": 10,
            "committed": rows,
            "rejected": states.count(State.OPEN),
            "in_flight": states.count(State.REPLAYING),
            "lost": 0,
        }
    ledger.close()


def test_a_target_is_told_of_every_rejection_once_and_of_whole_splits(url: str) -> None:
    ledger = _open(url)
    _committed(ledger, 0, 4, [_reject(offset) for offset in range(3)])
    last = _committed(ledger, 4, 8, [_reject(5)])
    assert [event.reject.record_id for event in ledger.unpublished("x", 1)] == [_name(0), _name(1), _name(2)]
    ledger.publish("x", ledger.unpublished("x", 1)[-1].seq)
    (event,) = ledger.unpublished("x", 10)
    assert event.split.split_id == last.split_id
    ledger.keep_samples({event.seq: b"payload"})
    ledger.keep_samples({event.seq: b"another"})
    assert ledger.rejected_record(_name(5))[0][0].sample == b"payload"
    ledger.publish("x", event.seq)
    assert ledger.unpublished("x", 10) == []
    assert len(ledger.unpublished("y", 10)) == 4
    ledger.close()


OLD = """CREATE TABLE ledger_rejects (seq {big} NOT NULL PRIMARY KEY, record_id TEXT NOT NULL, source TEXT NOT NULL,
split_id TEXT NOT NULL, stage TEXT NOT NULL, error TEXT NOT NULL, reason TEXT NOT NULL, attempts INTEGER NOT NULL,
rejected_at FLOAT NOT NULL, UNIQUE (record_id, source))"""


def test_a_ledger_of_version_1_is_brought_up_to_date(url: str) -> None:
    ledger = _open(url)
    split = _committed(ledger, 0, 4, [_reject(3)])
    ledger.close()
    engine = create_engine(parse_url(url))
    with engine.begin() as connection:
        for table in (schema.rejections, schema.samples, schema.published, schema.requests, schema.rejects):
            table.drop(connection)
        sqlite = engine.dialect.name == "sqlite"
        connection.execute(text(OLD.format(big="INTEGER" if sqlite else "BIGSERIAL")))
        connection.execute(
            text(f"INSERT INTO ledger_rejects VALUES (7,'{_name(3)}','s','{split.split_id}','read','E','r',1,5.0)")
        )
        connection.execute(text("UPDATE ledger_state SET schema_version = 1"))
    engine.dispose()
    ledger = _open(url)
    assert ledger.status()["schema_version"] == schema.VERSION
    (now,) = ledger.rejected(ALL)
    assert (now.state, now.replays, now.reject.error, now.reject.whole) == (State.OPEN, 0, "E", False)
    assert [event.seq for event in ledger.unpublished("x", 9)] == [7]
    ledger.request_replay(ALL)
    (split,) = _planned(ledger)
    ledger.commit([_receipt(split, AGAIN)])
    assert [event.seq for event in ledger.unpublished("x", 9)] == [7, 8]
    assert ledger.request_replay(ALL) == 1
    ledger.close()
