"""Planning of offset ranges over a cluster in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message
from hypothesis import given
from hypothesis import strategies as st

from stream_infer import config
from stream_infer.bounds import parse, record_ids
from stream_infer.connectors.kafka.cluster import Cluster, Link, Partition, Topic
from stream_infer.connectors.kafka.reader import KafkaReader
from stream_infer.connectors.kafka.settings import KafkaSettings
from stream_infer.connectors.kafka.source import KafkaSource
from stream_infer.connectors.kafka.watcher import Peek, Watcher
from stream_infer.contracts import PlanBudget, Planned
from stream_infer.errors import ConfigError, Fatal, Retryable
from stream_infer.splits import Split

LIMITS = config.Limits()
BUDGET = PlanBudget(splits=1000, records=10, bytes=2**30, freshness=0.0, now=1_700_000_000.0)


class FakeCluster(Cluster):
    """Offsets of one topic, set by the test."""

    def __init__(self, ends: Sequence[int]) -> None:
        self.logs = {("t", number): (0, end) for number, end in enumerate(ends)}
        self.topic_id = "one"
        self.exists = True
        self.commits: list[tuple[str, Mapping[Partition, int]]] = []

    id = "c"

    def topics(self, names: Sequence[str]) -> dict[str, Topic]:
        partitions = tuple(number for _, number in sorted(self.logs))
        return {"t": Topic("t", self.topic_id, partitions)} if self.exists else {}

    def starts(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        return {partition: self.logs[partition][0] for partition in partitions}

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        if not set(partitions) <= self.logs.keys():
            raise Retryable("unknown partition")
        return {partition: self.logs[partition][1] for partition in partitions}

    def commit(self, group: str, offsets: Mapping[Partition, int]) -> None:
        self.commits.append((group, dict(offsets)))


class Positions(dict[str, Any]):
    """The positions that a ledger keeps of a plan."""

    def unseen(self, object_ids: Sequence[str]) -> set[str]:
        return set(object_ids)


def source_of(cluster: Cluster, **more: Any) -> KafkaSource:
    settings = KafkaSettings(name="s", kind="kafka", servers="127.0.0.1:1", topics=["t"], **more)
    link = Link("s", settings.servers, {})
    reader = KafkaReader(settings, "p", LIMITS)
    return KafkaSource(settings, cluster, Watcher(link, "g"), Peek(link, "g"), reader, "g")


def plan(source: KafkaSource, positions: Positions, budget: PlanBudget = BUDGET) -> list[Planned]:
    parts = []
    for part in source.plan(positions, budget):
        positions.update(part.positions)
        parts.append(part)
    return parts


def splits_of(parts: Sequence[Planned]) -> list[Split]:
    return [part.split for part in parts if part.split is not None]


@given(
    passes=st.lists(st.lists(st.integers(0, 60), min_size=3, max_size=3), min_size=1, max_size=4),
    splits=st.integers(1, 6),
    records=st.integers(1, 25),
    restart=st.booleans(),
)
def test_ranges_are_contiguous_disjoint_and_cover_what_is_there(
    passes: list[list[int]], splits: int, records: int, restart: bool
) -> None:
    cluster, positions = FakeCluster([0, 0, 0]), Positions()
    source = source_of(cluster)
    budget = replace(BUDGET, splits=splits, records=records)
    planned: list[Split] = []
    for grown in passes:
        for number, more in enumerate(grown):
            cluster.logs["t", number] = (0, cluster.logs["t", number][1] + more)
        source = source_of(cluster) if restart else source
        while new_splits := splits_of(plan(source, positions, budget)):
            assert len(new_splits) <= splits
            planned += new_splits
            assert len(planned) <= 1000  # no offset is planned without end
    for (_, number), (_, end) in cluster.logs.items():
        ranges = [(s.bounds["start"], s.bounds["stop"]) for s in planned if s.bounds["partition"] == number]
        assert all(0 < stop - start <= records for start, stop in ranges)
        assert [start for start, _ in ranges] == [0, *(stop for _, stop in ranges)][: len(ranges)]
        assert (ranges[-1][1] if ranges else 0) == end
    assert len({split.split_id for split in planned}) == len(planned)
    assert source.status({}).lag.records == 0


def test_what_comes_behind_a_range_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The topic goes away just after the last record of the range was fetched."""
    (split,) = splits_of(plan(source_of(FakeCluster([2])), Positions()))
    records = [Message(topic="t", partition=0, offset=offset, value=b"x") for offset in range(2)]
    deleted_topic = Message(topic="t", partition=0, offset=2, error=KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
    consumer = SimpleNamespace(consume=lambda *_: [*records, deleted_topic], unassign=lambda: None)
    settings = KafkaSettings(name="s", kind="kafka", servers="127.0.0.1:1", topics=["t"])
    reader = KafkaReader(settings, "p", LIMITS)
    monkeypatch.setattr(reader, "_stand", lambda *_: consumer)
    (messages,) = reader._fetches(split)
    assert isinstance(messages, list)
    assert [message.offset() for message in messages] == [0, 1]


def test_a_long_partition_does_not_starve_the_others() -> None:
    source, positions = source_of(FakeCluster([10_000, 10, 10])), Positions()
    splits = splits_of(plan(source, positions, replace(BUDGET, splits=3)))
    assert {split.bounds["partition"] for split in splits} == {0, 1, 2}
    lag = source.status({}).lag
    assert (lag.records, lag.by_key["t/0"], lag.by_key["t/1"]) == (9990, 9990, 0)


def test_without_room_for_a_split_it_is_still_known_what_waits() -> None:
    cluster, positions = FakeCluster([20]), Positions()
    source = source_of(cluster)
    assert len(splits_of(plan(source, positions, replace(BUDGET, splits=1)))) == 1
    cluster.logs["t", 0] = (0, 500)
    assert splits_of(plan(source, positions, replace(BUDGET, splits=0))) == []
    assert source.status({}).lag.records == 490
    assert [status.end for status in source.status({"t/0": 0}).partitions] == [500]


def test_bytes_bound_a_split_too() -> None:
    splits = splits_of(
        plan(source_of(FakeCluster([10])), Positions(), replace(BUDGET, bytes=4000, record_bytes=1000.0))
    )
    assert [split.records for split in splits] == [4, 4, 2]


def test_records_wait_for_company_as_long_as_freshness_says() -> None:
    cluster, positions = FakeCluster([13]), Positions()
    source, budget = source_of(cluster), replace(BUDGET, freshness=5.0)
    assert [split.records for split in splits_of(plan(source, positions, budget))] == [10]
    assert splits_of(plan(source, positions, replace(budget, now=budget.now + 4.9))) == []
    (late,) = splits_of(plan(source, positions, replace(budget, now=budget.now + 5.1)))
    assert (late.records, late.event_at) == (3, budget.now)


def test_a_clock_that_is_put_back_keeps_no_record_waiting() -> None:
    cluster, positions = FakeCluster([3]), Positions()
    source, budget = source_of(cluster), replace(BUDGET, freshness=5.0)
    assert splits_of(plan(source, positions, budget)) == []
    back = replace(budget, now=budget.now - 3600)
    assert splits_of(plan(source, positions, back)) == []
    assert len(splits_of(plan(source, positions, replace(back, now=back.now + 5.1)))) == 1


def test_latest_is_resolved_once_and_partitions_added_later_are_read_whole() -> None:
    cluster, positions = FakeCluster([7]), Positions()
    first = plan(source_of(cluster, start="latest"), positions)
    assert splits_of(first) == []
    assert positions["t/0"] == 7
    cluster.logs = {("t", 0): (0, 9), ("t", 1): (0, 2)}
    splits = splits_of(plan(source_of(cluster, start="latest"), positions))
    assert sorted((s.bounds["partition"], s.bounds["start"], s.bounds["stop"]) for s in splits) == [
        (0, 7, 9),
        (1, 0, 2),
    ]


def test_expired_offsets_are_a_named_loss_or_stop_the_source() -> None:
    cluster, positions = FakeCluster([5]), Positions()
    plan(source_of(cluster), positions)
    cluster.logs["t", 0] = (8, 12)
    with pytest.raises(Fatal, match="expired"):
        plan(source_of(cluster, on_expired="stop"), positions)
    parts = plan(source_of(cluster), positions)
    (loss,) = [loss for part in parts for loss in part.losses]
    assert (loss.record_id, loss.reason, loss.records) == ("kafka://c/t/0/5", "expired", 3)
    assert [(s.bounds["start"], s.bounds["stop"]) for s in splits_of(parts)] == [(8, 12)]


def test_a_source_that_is_to_stop_plans_no_offset_that_expired_since_the_last_look() -> None:
    cluster, positions = FakeCluster([5]), Positions()
    source = source_of(cluster, on_expired="stop")
    assert len(splits_of(plan(source, positions))) == 1
    cluster.logs["t", 0] = (8, 12)
    with pytest.raises(Fatal, match="offsets 5 to 7 expired"):
        plan(source, positions)


def test_a_topic_made_again_is_met_before_its_offsets_are_used() -> None:
    cluster, positions = FakeCluster([5, 5]), Positions()
    stops, adopts = source_of(cluster), source_of(cluster, on_recreated="adopt")
    plan(stops, positions)
    plan(adopts, positions)
    cluster.topic_id, cluster.logs = "two", {("t", 0): (0, 9)}
    for source in (stops, adopts):
        with pytest.raises(Retryable, match="unknown partition"):
            plan(source, positions)
    with pytest.raises(Fatal, match="made again"):
        plan(stops, positions)
    (split,) = splits_of(plan(adopts, positions))
    assert (split.bounds["topic"], split.bounds["position_key"], split.records) == ("t@2", "t@2/0", 9)
    assert positions["topic/t"] == {"id": "two", "incarnation": 2}
    assert next(record_ids(parse(split.bounds))) == "kafka://c/t@2/0/0"


def test_a_topic_that_does_not_exist_is_waited_for() -> None:
    cluster = FakeCluster([1])
    cluster.exists = False
    source = source_of(cluster)
    with pytest.raises(Retryable, match="'t' does not exist"):
        plan(source, Positions())
    cluster.exists = True
    assert len(splits_of(plan(source, Positions()))) == 1


@given(start=st.integers(0, 1000), records=st.integers(1, 200))
def test_halves_cover_the_split(start: int, records: int) -> None:
    bounds = {"cluster": "c", "topic": "t", "partition": 0, "start": start, "stop": start + records}
    pending = [Split.of("s", bounds, folder="date=2026-01-31", records=records, bytes=records)]
    singles = []
    while pending:
        split = pending.pop()
        halves = split.halves()
        if halves is None:
            singles += list(record_ids(parse(split.bounds)))
        else:
            assert sum(half.records for half in halves) == split.records
            pending += reversed(halves)
    assert singles == [f"kafka://c/t/0/{offset}" for offset in range(start, start + records)]


def test_the_group_follows_the_prefix_of_the_newest_incarnation_and_only_changes_are_told() -> None:
    cluster = FakeCluster([5])
    source = source_of(cluster)
    source.committed([], {"t/0": 5, "t@2/0": 3, "t@10/0": 2, "other/0": 1})
    source.committed([], {"t/0": 5, "t@2/0": 3, "t@10/0": 2})
    source.committed([], {"t@10/0": 4})
    assert cluster.commits == [("g", {("t", 0): 2}), ("g", {("t", 0): 4})]


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"sasl.mechanizm": "sekret"}, "sources.s.options.sasl.mechanizm: "),
        ({"security.protocol": "sekret"}, "sources.s.options.security.protocol: "),
        ({"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"}, "sasl.username and sasl.password"),
        ({"socket.timeout.ms": ["sekret"]}, "sources.s.options"),
    ],
)
def test_a_wrong_option_is_named_without_its_value(options: dict[str, Any], path: str) -> None:
    settings = KafkaSettings(name="s", kind="kafka", servers="h:1", topics=["t"], options=options)
    with pytest.raises(ConfigError) as raised:
        KafkaSource.from_config(settings, pipeline="p", limits=LIMITS)
    assert path in str(raised.value)
    assert "sekret" not in str(raised.value)
