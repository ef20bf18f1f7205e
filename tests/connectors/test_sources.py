"""The sources against a real broker, a real S3 server and a real ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from kafka import KafkaAdminClient

from stream_infer import config
from stream_infer.bounds import parse, record_ids
from stream_infer.connectors.files.settings import FilesSettings
from stream_infer.connectors.files.source import FilesSource
from stream_infer.connectors.kafka.settings import KafkaSettings
from stream_infer.connectors.kafka.source import KafkaSource
from stream_infer.contracts import Piece, PlanBudget, Source, joined, location_of
from stream_infer.driver.bisection import pieces
from stream_infer.errors import Fatal
from stream_infer.ledger import Ledger
from stream_infer.splits import Receipt, Split

LIMITS = config.Limits(record_bytes=1000)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    new_ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", {})
    new_ledger.acquire("test")
    return new_ledger


def _plan(source: Source, ledger: Ledger, records: int = 1000, splits: int = 100) -> list[Split]:
    budget = PlanBudget(splits, records, 2**30, 0.0, time.time())
    planned: list[Split] = []
    for part in source.plan(ledger.position(source.name), budget):
        planned += ledger.plan(source.name, [part])
    return planned


def _read(source: Source, splits: list[Split]) -> tuple[list[dict[str, Any]], Piece]:
    reader = source.reader()
    read = joined([piece for split in splits for piece in reader.read(split)])
    return read.table.to_pylist(), read


def _commit(ledger: Ledger, splits: list[Split]) -> None:
    ledger.commit([Receipt(split.split_id, split.source, 1, split.bounds, rows=split.records) for split in splits])


def _kafka(servers: str, topic: str, **more: Any) -> KafkaSource:
    settings = KafkaSettings(name="stream", kind="kafka", servers=servers, topics=[topic], **more)
    return KafkaSource.from_config(settings, pipeline="p", limits=LIMITS)


def _send(servers: str, topic: str, *values: bytes | None, partition: int = 0, **more: Any) -> None:
    producer = Producer({"bootstrap.servers": servers})
    for value in values:
        producer.produce(topic, value, partition=partition, **more)
    assert producer.flush(30) == 0


def test_every_offset_once_with_headers_tombstones_and_bad_bytes(
    kafka: str, kafka_topic: Callable[..., str], ledger: Ledger
) -> None:
    topic = kafka_topic(partitions=3)
    for partition in range(3):
        _send(kafka, topic, *[f"{partition}-{n}".encode() for n in range(50)], partition=partition, key="k")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    _send(kafka, topic, b"traced", headers=[("traceparent", f"00-{trace}-00f067aa0ba902b7-01".encode())])
    _send(kafka, topic, None, b"\xff", b"x" * 2000)
    source = _kafka(kafka, topic)
    splits = _plan(source, ledger, records=20)
    ranges = sorted((s.bounds["partition"], s.bounds["start"], s.bounds["stop"]) for s in splits)
    assert all(stop - start <= 20 for _, start, stop in ranges)
    assert {(p, n) for p, a, b in ranges for n in range(a, b)} == {
        (p, n) for p in range(3) for n in range(50 + 4 * (p == 0))
    }
    rows, read = _read(source, splits)
    assert len({row["record_id"] for row in rows}) == len(rows) == 151
    assert sorted(reject.error for reject in read.rejects) == ["decode", "tombstone", "too_large"]
    assert [row["trace_id"] for row in rows if row["text"] == "traced"] == [trace]
    assert _plan(source, ledger) == []
    source.close()


def test_a_range_is_read_whole_whatever_it_was_thought_to_hold(
    kafka: str, kafka_topic: Callable[..., str], ledger: Ledger
) -> None:
    """Small ranges are read with small fetches, and a single message may be larger than a fetch."""
    topic = kafka_topic()
    _send(kafka, topic, *[b"%d " % number * 60_000 for number in range(12)])
    settings = KafkaSettings(name="stream", kind="kafka", servers=kafka, topics=[topic])
    source = KafkaSource.from_config(settings, pipeline="p", limits=config.Limits())
    (split,) = _plan(source, ledger)
    for size in (1, 2**15, 2**25):
        rows, _ = _read(source, [replace(split, bytes=size)])
        assert [row["text"].partition(" ")[0] for row in rows] == [str(number) for number in range(12)]
    source.close()


def test_aborted_transactions_are_gaps(kafka: str, kafka_topic: Callable[..., str], ledger: Ledger) -> None:
    topic = kafka_topic()
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": topic})
    producer.init_transactions()
    for number, commits in enumerate([True, False, True, False]):
        producer.begin_transaction()
        producer.produce(topic, f"{number}".encode())
        producer.flush()
        producer.commit_transaction() if commits else producer.abort_transaction()
    source = _kafka(kafka, topic)
    rows, _ = _read(source, _plan(source, ledger))
    assert [row["text"] for row in rows] == ["0", "2"]
    source.close()


def test_offsets_that_expired_are_a_named_loss(kafka: str, kafka_topic: Callable[..., str], ledger: Ledger) -> None:
    topic = kafka_topic()
    _send(kafka, topic, *[b"x"] * 10)
    source = _kafka(kafka, topic)
    splits = _plan(source, ledger)
    admin = AdminClient({"bootstrap.servers": kafka})
    for future in admin.delete_records([TopicPartition(topic, 0, 4)]).values():
        future.result(30)
    rows, read = _read(source, splits)
    assert len(rows) == 6
    assert [(loss.reason, loss.records) for loss in read.losses] == [("expired", 4)]
    source.close()


def test_a_topic_made_again_stops_the_source_or_is_adopted(
    kafka: str, kafka_topic: Callable[..., str], ledger: Ledger
) -> None:
    topic = kafka_topic()
    _send(kafka, topic, b"old")
    source = _kafka(kafka, topic)
    _commit(ledger, _plan(source, ledger))
    source.close()
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    admin.delete_topics([topic])
    _until(lambda: topic not in admin.list_topics())
    admin.close()
    kafka_topic(name=topic)
    _send(kafka, topic, b"new")
    source = _kafka(kafka, topic)
    with pytest.raises(Fatal, match="made again"):
        _plan(source, ledger)
    source.close()
    source = _kafka(kafka, topic, on_recreated="adopt")
    rows, _ = _read(source, _plan(source, ledger))
    assert [(row["text"], row["record_id"].split("/", 3)[3]) for row in rows] == [("new", f"{topic}@2/0/0")]
    source.close()


def test_latest_means_the_first_look_and_the_group_follows_the_committed_offsets(
    kafka: str, kafka_topic: Callable[..., str], ledger: Ledger
) -> None:
    topic = kafka_topic()
    _send(kafka, topic, b"before")
    source = _kafka(kafka, topic, start="latest", group=f"g-{topic}")
    assert _plan(source, ledger) == []
    _send(kafka, topic, b"after", b"more")
    source.close()
    source = _kafka(kafka, topic, start="latest", group=f"g-{topic}")
    splits = _plan(source, ledger)
    assert [(split.bounds["start"], split.bounds["stop"]) for split in splits] == [(1, 3)]
    _commit(ledger, splits)
    source.committed(splits, ledger.committed_offsets("stream"))
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": f"g-{topic}"})
    assert [partition.offset for partition in consumer.committed([TopicPartition(topic, 0)], timeout=30)] == [3]
    consumer.close()
    source.close()


def test_a_message_ends_a_wait(kafka: str, kafka_topic: Callable[..., str], ledger: Ledger) -> None:
    topic = kafka_topic()
    source = _kafka(kafka, topic)
    assert _plan(source, ledger) == []
    _send(kafka, topic, b"news")
    started = time.monotonic()
    source.wait(30)
    assert time.monotonic() - started < 20
    (split,) = _plan(source, ledger)
    assert split.event_at is not None
    source.close()


def _files(url: str, storage: config.Storage | None = None, **more: Any) -> FilesSource:
    settings = FilesSettings(name="inbox", kind="files", url=url, storage=storage or config.Storage(), **more)
    return FilesSource.from_config(settings, pipeline="p", limits=LIMITS)


AWKWARD = ["plain.txt", "sp ace", "ünï", "a+b", "50%", "h#sh", "q?x", "%41", "d/e/e/p", "/".join(["n" * 200] * 4)]


def test_awkward_keys_overwrites_and_deletes(
    s3: config.Storage, s3_bucket: Callable[[], str], s3_client: Any, ledger: Ledger
) -> None:
    bucket = s3_bucket()
    for key in AWKWARD:
        s3_client.put_object(Bucket=bucket, Key=f"in/{key}", Body=key.encode())
    source = _files(f"s3://{bucket}/in/", s3, discover={"poll": 0})
    splits = _plan(source, ledger)
    rows, _ = _read(source, splits)
    assert {row["key"].removeprefix("in/"): row["text"] for row in rows} == {key: key for key in AWKWARD}
    assert _plan(source, ledger) == []
    s3_client.put_object(Bucket=bucket, Key="in/plain.txt", Body=b"changed")
    rows, read = _read(source, splits)
    assert [loss.reason for loss in read.losses] == ["superseded"]
    rows, _ = _read(source, _plan(source, ledger))
    assert [row["text"] for row in rows] == ["changed"]
    s3_client.delete_object(Bucket=bucket, Key="in/plain.txt")
    _, read = _read(source, splits)
    assert [loss.reason for loss in read.losses] == ["deleted"]


@pytest.mark.parametrize("after", ["delete", "move"])
def test_after_a_commit_exactly_that_version_goes(
    s3: config.Storage, s3_bucket: Callable[[], str], s3_client: Any, ledger: Ledger, after: str
) -> None:
    bucket = s3_bucket()
    for key in ("a", "b"):
        s3_client.put_object(Bucket=bucket, Key=f"in/{key}", Body=b"old")
    action: Any = "delete" if after == "delete" else {"move": f"s3://{bucket}/done/"}
    source = _files(f"s3://{bucket}/in/", s3, after=action)
    splits = _plan(source, ledger)
    s3_client.put_object(Bucket=bucket, Key="in/b", Body=b"new")
    for _ in range(2):
        source.committed(splits, {})
    left = [item["Key"] for item in s3_client.list_objects_v2(Bucket=bucket).get("Contents", [])]
    assert left == (["in/b"] if after == "delete" else ["done/a", "in/b"])


def test_a_local_file_is_read_when_it_rests(tmp_path: Path, ledger: Ledger) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "half.txt").write_text("half")
    source = _files(str(folder), discover={"settle": 3600, "poll": 0})
    assert _plan(source, ledger) == []
    assert source.status({}).lag.unsettled == 1
    source = _files(str(folder), discover={"settle": 0, "poll": 0})
    rows, _ = _read(source, _plan(source, ledger))
    assert [row["text"] for row in rows] == ["half"]


def test_rows_of_one_object_are_halved_down_to_one(tmp_path: Path, ledger: Ledger) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "many.jsonl").write_text("\n".join(f'{{"n": {n}}}' for n in range(7)))
    source = _files(str(folder), discover={"settle": 0})
    pending, single = _plan(source, ledger), []
    while pending:
        split = pending.pop()
        halves = pieces(split, source.reader())
        pending += halves
        if not halves:
            single.append(split)
    assert len(single) == 7
    location = location_of(source.reader())
    rows, _ = _read(source, single)
    assert sorted(row["n"] for row in rows) == list(range(7))
    assert sorted(row["record_id"] for row in rows) == sorted(
        name for s in single for name in record_ids(parse(s.bounds), location)
    )


def _until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
