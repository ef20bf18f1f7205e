"""The ledger against a plain model of it: any order of calls, restarts and lost replies, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from stream_infer.contracts import Planned
from stream_infer.errors import Retryable
from stream_infer.ledger import Ledger
from stream_infer.splits import Loss, Receipt, Reject, Split

T = TypeVar("T")
KEYS = ("t/0", "t/1")
OPEN, DONE, HALVED = "open", "done", "halved"
LOST = st.sampled_from(["no", "no", "before", "after"])


def split_of(key: str, start: int, stop: int, parent: Split | None = None) -> Split:
    bounds = {"position_key": key, "start": start, "stop": stop}
    size = {"records": stop - start, "bytes": stop - start}
    return Split.of("s", bounds, folder="f", **size) if parent is None else parent.child(bounds, **size)


class LedgerMachine(RuleBasedStateMachine):
    """`splits`, `counts` and the rest are the model; every answer of the ledger must be its answer."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url, self.epoch = url, 0
        self.splits: dict[str, Split] = {}
        self.state: dict[str, str] = {}
        self.tries: dict[str, int] = {}
        self.owed: set[str] = set()
        self.positions: dict[str, int] = {}
        self.counts = {"committed": 0, "rejected": 0, "lost": 0}
        self._start()

    def _start(self) -> None:
        self.ledger = Ledger.open(self.url, {"sink.url": "s3://out"})
        epoch = self.ledger.acquire("machine")
        assert epoch > self.epoch
        self.epoch = epoch

    def teardown(self) -> None:
        self.ledger.close()

    def _call(self, lost: str, call: Callable[[], T]) -> T:
        """What the call returns, made again if its COMMIT is not answered: ``no``, ``before`` or ``after`` it acts."""
        dialect: Any = self.ledger._engine.dialect
        commit = dialect.do_commit

        def fail(connection: Any) -> None:
            if lost == "after":
                commit(connection)
            raise dialect.loaded_dbapi.OperationalError("no answer")

        if lost == "no":
            return call()
        dialect.do_commit = fail
        try:
            answer = call()  # nothing to write, nothing to lose
        except Retryable:
            pass
        else:
            return answer
        finally:
            del dialect.do_commit
        return call()

    def _some(self, data: st.DataObject) -> list[Split]:
        names = st.lists(st.sampled_from(list(self.splits)), min_size=1, max_size=4, unique=True)
        return [self.splits[name] for name in data.draw(names)]

    def _add(self, split: Split) -> None:
        self.splits[split.split_id], self.state[split.split_id], self.tries[split.split_id] = split, OPEN, 0

    @rule(key=st.sampled_from(KEYS), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=3), lost=LOST)
    def plan(self, key: str, sizes: list[int], lost: str) -> None:
        plans, at = [], self.positions.get(key, 0)
        for size in sizes:
            plans.append(Planned(split_of(key, at, at + size), positions={key: at + size}))
            at += size
        added = self._call(lost, lambda: self.ledger.plan("s", plans))
        assert added == [planned.split for planned in plans]
        for split in added:
            self._add(split)
        self.positions[key] = at
        assert self.ledger.plan("s", plans) == []

    @rule(key=st.sampled_from(KEYS), records=st.integers(1, 9), lost=LOST)
    def expire(self, key: str, records: int, lost: str) -> None:
        start = self.positions.get(key, 0)
        planned = Planned(None, {key: start + records}, losses=(Loss(f"{key}/{start}", "s", "expired", records),))
        self._call(lost, lambda: self.ledger.plan("s", [planned]))
        self.positions[key] = start + records
        self.counts["lost"] += records

    @precondition(lambda self: self.splits)
    @rule(data=st.data(), lost=LOST)
    def attempt(self, data: st.DataObject, lost: str) -> None:
        chosen = [replace(split, attempt=self.tries[split.split_id]) for split in self._some(data)]
        tried = self._call(lost, lambda: self.ledger.attempt(chosen))
        going = [split for split in chosen if self.state[split.split_id] == OPEN]
        assert tried == [split.tried() for split in going]
        for split in tried:
            self.tries[split.split_id] = split.attempt

    @precondition(lambda self: self.splits)
    @rule(data=st.data(), lost=LOST)
    def commit(self, data: st.DataObject, lost: str) -> None:
        receipts = [self._receipt(split, data) for split in self._some(data)]
        fresh = [receipt for receipt in receipts if self.state[receipt.split_id] == OPEN and not receipt.retired]
        committed = self._call(lost, lambda: self.ledger.commit(receipts))
        assert [split.split_id for split in committed] == [receipt.split_id for receipt in fresh]
        assert self.ledger.commit(receipts) == []
        for receipt in fresh:
            self.state[receipt.split_id] = DONE
            self.owed.add(receipt.split_id)
            self.counts["committed"] += receipt.rows
            self.counts["rejected"] += len(receipt.rejects)
            self.counts["lost"] += sum(loss.records for loss in receipt.losses)

    def _receipt(self, split: Split, data: st.DataObject) -> Receipt:
        """What is not a row, a reject or a loss was a gap between offsets."""
        left, key, start = split.records, split.bounds["position_key"], split.bounds["start"]
        rejected = data.draw(st.integers(0, min(2, left)))
        lost = data.draw(st.integers(0, min(2, left - rejected)))
        rejects = tuple(Reject(f"{key}/{start + n}", "s", "infer", "E", "a\0b\ud800", 1, 0.0) for n in range(rejected))
        losses = (Loss(f"{key}/{start + rejected}", "s", "expired", lost),) if lost else ()
        rows = data.draw(st.integers(0, left - rejected - lost))
        retired = data.draw(st.sampled_from([False, False, False, True]))
        return Receipt(split.split_id, "s", 1, split.bounds, rows=rows, rejects=rejects, losses=losses, retired=retired)

    @precondition(lambda self: self.splits)
    @rule(data=st.data(), lost=LOST)
    def bisect(self, data: st.DataObject, lost: str) -> None:
        (split, *_) = self._some(data)
        if split.records < 2:
            return
        key, start, stop = (split.bounds[name] for name in ("position_key", "start", "stop"))
        middle = (start + stop) // 2
        halves = [split_of(key, start, middle, split), split_of(key, middle, stop, split)]
        added = self._call(lost, lambda: self.ledger.bisect(split, halves))
        assert added == (halves if self.state[split.split_id] == OPEN else [])
        for half in added:
            self.state[split.split_id] = HALVED
            self._add(half)

    @precondition(lambda self: self.splits)
    @rule(data=st.data(), lost=LOST)
    def reject(self, data: st.DataObject, lost: str) -> None:
        (split, *_) = self._some(data)
        key, start = split.bounds["position_key"], split.bounds["start"]
        why = [Reject(f"{key}/{start + n}", "s", "infer", "E", "why", 1, 0.0) for n in range(split.records)]
        self._call(lost, lambda: self.ledger.reject(split, why))
        if self.state[split.split_id] == OPEN:
            self.state[split.split_id] = DONE
            self.owed.add(split.split_id)
            self.counts["rejected"] += len(why)

    @precondition(lambda self: self.splits)
    @rule(data=st.data(), lost=LOST)
    def acknowledge(self, data: st.DataObject, lost: str) -> None:
        split_ids = [split.split_id for split in self._some(data)]
        self._call(lost, lambda: self.ledger.acknowledge(split_ids))
        self.owed.difference_update(split_ids)

    @rule()
    def restart(self) -> None:
        self.ledger.close()
        self._start()

    @invariant()
    def every_record_has_one_fate(self) -> None:
        waiting = sum(self.splits[split_id].records for split_id, state in self.state.items() if state == OPEN)
        counts = {**self.counts, "in_flight": waiting}
        assert self.ledger.audit() == {"planned": sum(counts.values()), **counts}
        assert self.ledger.recount() == self.ledger.audit()
        assert len(self.ledger.rejects()) == self.counts["rejected"]

    @invariant()
    def the_prefix_ends_at_the_first_open_record(self) -> None:
        ends = dict(self.positions)
        for split in self._open():
            key, start = split.bounds["position_key"], split.bounds["start"]
            ends[key] = min(ends[key], start)
        assert self.ledger.committed_offsets("s") == ends

    @invariant()
    def unfinished_work_is_in_order(self) -> None:
        unfinished = self.ledger.unfinished()
        assert {split.split_id: split.attempt for split in unfinished} == {
            split.split_id: self.tries[split.split_id] for split in self._open()
        }
        for key in KEYS:
            starts = [split.bounds["start"] for split in unfinished if split.bounds["position_key"] == key]
            assert starts == sorted(starts)
        # no piece may be acknowledged while another of its family is open: they may be rows of one object
        waiting = {self._root(split) for split in self._open()}
        owed = {split_id for split_id in self.owed if self._root(self.splits[split_id]) not in waiting}
        assert {split.split_id for split in self.ledger.unacknowledged("s", 1000)} == owed

    def _root(self, split: Split) -> str:
        return split.split_id if split.parent is None else self._root(self.splits[split.parent])

    def _open(self) -> list[Split]:
        return [split for split_id, split in self.splits.items() if self.state[split_id] == OPEN]


def test_any_order_of_calls_agrees_with_the_model(new_url: Callable[[], str]) -> None:
    machine = settings(max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(lambda: LedgerMachine(new_url()), settings=machine)  # type: ignore[arg-type]
