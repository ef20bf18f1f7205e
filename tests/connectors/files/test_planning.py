"""Planning of objects: each version once in any order of listings, events and restarts, in splits within the budget."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_infer import config
from stream_infer.bounds import parse, record_ids
from stream_infer.connectors.files import listing
from stream_infer.connectors.files.events import ObjectEvent, parse_events
from stream_infer.connectors.files.queues import EventQueue, SqsQueue
from stream_infer.connectors.files.reader import FilesReader
from stream_infer.connectors.files.settings import FilesSettings, SqsEvents
from stream_infer.connectors.files.source import FilesSource
from stream_infer.connectors.storage.store import Item
from stream_infer.decode.decoder import Decoder
from stream_infer.errors import Retryable
from tests.connectors.files.planning_kit import DAY, NOW, Claims, keys, plan


class Bucket:
    """A store of names without content."""

    scheme, bucket, root, conditional = "s3", "b", "in", True

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.listed = 0
        self.fails = False

    def put(self, key: str, version: int, size: int = 1, modified: float = NOW) -> None:
        self.items[f"in/{key}"] = Item(f"in/{key}", size, modified, str(version))

    def list(self, prefix: str) -> Any:
        for item in sorted(self.items.values(), key=lambda item: item.key):
            if self.fails:
                raise Retryable("s3://b does not answer")
            self.listed += 1
            yield item

    def head(self, key: str) -> Item | None:
        return self.items.get(key)


class Queue:
    """A queue whose events the test sets."""

    def __init__(self) -> None:
        self.events: list[ObjectEvent] = []
        self.acknowledged = 0

    def poll(self, timeout: float) -> list[ObjectEvent]:
        given, self.events = self.events, []
        return given

    def planned(self) -> None:
        self.acknowledged += 1

    def close(self) -> None:
        return


def _source(store: Any, queue: EventQueue | None = None, **more: Any) -> FilesSource:
    discover = more.pop("discover", {"poll": 0})
    chosen = FilesSettings(name="inbox", kind="files", url="s3://b/in/", discover=discover, **more)
    return FilesSource(
        chosen,
        store,
        FilesReader(store, Decoder(config.AutoFormat(), config.Limits())),
        queue,
    )


writes = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 3)), max_size=6)
moves = st.lists(
    st.tuples(writes, st.sampled_from(["list", "events", "again", "restart", "fail", "full"])), max_size=12
)


@given(history=moves, records=st.integers(1, 5), splits=st.integers(1, 4))
def test_every_version_that_stands_is_claimed_once(history: Any, records: int, splits: int) -> None:
    bucket, queue, claims = Bucket(), Queue(), Claims()
    source = _source(bucket, queue, discover={"backfill": 0, "events": {"kafka": {"servers": "", "topic": ""}}})
    for written, how in history:
        for key, version in written:
            bucket.put(key, version)
        if how in ("events", "again"):
            queue.events = [ObjectEvent("b", (f"in/{key}",)) for key, _ in written] * (2 if how == "again" else 1)
        if how == "restart":
            source = _source(bucket, queue, discover={"poll": 0})
        bucket.fails = how == "fail" and bool(bucket.items)
        try:
            split_budget = 0 if how == "full" else splits
            parts = plan(source, claims, records=records, splits=split_budget)
        except Retryable:
            assert bucket.fails
            continue
        assert len(parts) <= split_budget
        assert all(part.split and 0 < part.split.records == len(part.objects) <= records for part in parts)
    bucket.fails = False
    while plan(source, claims, records=records, splits=splits):
        pass
    assert len(claims.claimed) == len(set(claims.claimed))
    assert {source._candidates.identity(item) for item in bucket.items.values()} <= set(claims.claimed)


@given(sizes=st.lists(st.integers(0, 50), max_size=30), most=st.integers(1, 60), records=st.integers(1, 6))
def test_splits_keep_to_their_budget_and_to_the_order(sizes: list[int], most: int, records: int) -> None:
    bucket = Bucket()
    for number, size in enumerate(sizes):
        bucket.put(f"{number:02}.txt", 1, size, NOW - number)
    parts = plan(_source(bucket), Claims(), records=records, bytes=most)
    assert keys(parts) == [f"in/{number:02}.txt" for number in reversed(range(len(sizes)))]
    for part in parts:
        assert part.split is not None
        assert part.split.bytes == sum(item.size for item in part.objects)
        assert len(part.objects) == 1 or (part.split.bytes <= most and len(part.objects) <= records)


def test_without_room_for_a_split_it_is_still_known_what_waits() -> None:
    bucket, claims = Bucket(), Claims()
    for number in range(50):
        bucket.put(str(number), 1)
    source = _source(bucket)
    assert plan(source, claims, splits=0) == []
    assert source.status({}).lag.records == 50


def test_the_same_objects_make_the_same_split() -> None:
    bucket = Bucket()
    bucket.put("a", 1)
    names = {part.split.split_id for _ in range(2) for part in plan(_source(bucket), Claims()) if part.split}
    assert len(names) == 1


def test_a_quiet_poll_asks_the_ledger_nothing() -> None:
    bucket, claims = Bucket(), Claims()
    for number in range(50):
        bucket.put(str(number), 1)
    source = _source(bucket)
    plan(source, claims)
    asked = claims.asked
    assert plan(source, claims) == []
    assert (claims.asked, bucket.listed) == (asked, 100)


def test_a_large_bucket_is_never_held_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_PAGE", 10)
    monkeypatch.setattr(listing, "_ENOUGH", 20)
    bucket, claims = Bucket(), Claims()
    for number in range(200):
        bucket.put(f"{number:03}", 1)
    source, most = _source(bucket), 0
    for _ in range(200):
        plan(source, claims, splits=1, records=2)
        most = max(most, len(source._candidates.waiting))
        if len(claims.claimed) == 200:
            break
    assert len(claims.claimed) == 200
    assert most <= 30


def test_a_small_group_waits_for_company_and_then_the_wait_ends() -> None:
    bucket, claims = Bucket(), Claims()
    bucket.put("a", 1)
    source = _source(bucket, discover={"poll": 3600})
    assert plan(source, claims, freshness=0.2) == []
    assert source.status({}).lag.records == 1
    began = time.monotonic()
    source.wait(30)
    assert 0.15 <= time.monotonic() - began < 10
    assert keys(plan(source, claims, freshness=0.2, now=NOW + 0.2)) == ["in/a"]


def test_a_clock_that_is_put_back_keeps_no_object_waiting() -> None:
    bucket, claims = Bucket(), Claims()
    bucket.put("a", 1)
    source = _source(bucket, discover={"poll": 3600})
    assert plan(source, claims, freshness=5.0) == []
    assert plan(source, claims, freshness=5.0, now=NOW - 3600) == []
    assert keys(plan(source, claims, freshness=5.0, now=NOW - 3594)) == ["in/a"]


def test_wake_ends_a_wait() -> None:
    bucket, claims = Bucket(), Claims()
    source = _source(bucket, discover={"poll": 3600})
    plan(source, claims)
    threading.Timer(0.05, source.wake).start()
    began = time.monotonic()
    source.wait(60)
    assert time.monotonic() - began < 30


def test_an_event_of_another_bucket_or_prefix_is_no_work() -> None:
    bucket, queue, claims = Bucket(), Queue(), Claims()
    source = _source(bucket, queue, discover={"events": {"sqs": {"queue_url": "q"}}})
    plan(source, claims)
    bucket.put("a", 1)
    bucket.items["out/x"] = Item("out/x", 1, NOW, "1")
    queue.events = [ObjectEvent("other", ("in/a",)), ObjectEvent("b", ("out/x",)), ObjectEvent("b", ("in/gone",))]
    assert plan(source, claims) == []


def test_events_are_acknowledged_when_their_objects_are_in_the_ledger() -> None:
    bucket, queue, claims = Bucket(), Queue(), Claims()
    source = _source(bucket, queue, discover={"events": {"sqs": {"queue_url": "q"}}})
    plan(source, claims)
    before = queue.acknowledged
    bucket.put("a", 1)
    queue.events = parse_events(
        json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": _s3("b", "in%2Fa")}]}).encode()
    )
    assert plan(source, claims, freshness=60.0) == []
    assert queue.acknowledged == before
    assert keys(plan(source, claims, freshness=60.0, now=NOW + 60)) == ["in/a"]
    assert queue.acknowledged == before + 1


def _s3(bucket: str, key: str) -> dict[str, Any]:
    return {"bucket": {"name": bucket}, "object": {"key": key, "size": 1, "eTag": "1"}}


def test_an_empty_sqs_queue_is_asked_once_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    wait_seconds: list[int] = []

    class Client:
        def receive_message(self, **call: Any) -> dict[str, Any]:
            wait_seconds.append(call["WaitTimeSeconds"])
            return {}

    queue = SqsQueue(SqsEvents(queue_url="q"), config.Storage())
    monkeypatch.setattr(queue, "_client", Client())
    for timeout in (0.0, 0.25, 5.0, 60.0):
        assert queue.poll(timeout) == []
    assert wait_seconds == [0, 1, 5, 20]


def test_dates_by_event_never_share_a_split() -> None:
    bucket = Bucket()
    for key, modified in (("a", NOW), ("b", NOW - DAY), ("c", NOW), ("d", NOW - DAY)):
        bucket.put(key, 1, modified=modified)
    keys_by_folder = {
        part.split.folder: keys([part]) for part in plan(_source(bucket), Claims(), date_by="event") if part.split
    }
    assert keys_by_folder == {"date=2027-01-14": ["in/b", "in/d"], "date=2027-01-15": ["in/a", "in/c"]}
    assert [part.split.folder for part in plan(_source(bucket), Claims()) if part.split] == ["date=2027-01-15"]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(1, 40))
def test_halves_cover_the_whole(tmp_path: Path, count: int) -> None:
    bucket = Bucket()
    for number in range(count):
        bucket.put(f"{number}.txt", 1)
    source = _source(bucket)
    pending = [part.split for part in plan(source, Claims()) if part.split]
    names = [name for split in pending for name in record_ids(parse(split.bounds))]
    ends = []
    while pending:
        split = pending.pop()
        halves = split.halves()
        if halves is None:
            ends.append(split)
        else:
            assert {half.parent for half in halves} == {split.split_id}
            assert sum(half.records for half in halves) == split.records
            pending += halves
    assert sorted(name for split in ends for name in record_ids(parse(split.bounds))) == sorted(names)
    assert len(ends) == count
