"""Rejects outside the ledger: files that appear once, messages with the original, and the input of replays."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer
from kafka import KafkaConsumer, TopicPartition

from stream_infer import config
from stream_infer.bounds import ObjectRef, parse, record_ids
from stream_infer.connectors.files.settings import Discover, FilesSettings
from stream_infer.connectors.files.source import FilesSource
from stream_infer.connectors.kafka.rejects import RejectTopic
from stream_infer.connectors.kafka.settings import KafkaSettings, TopicRejects
from stream_infer.connectors.kafka.source import KafkaSource
from stream_infer.connectors.parquet.rejects import RejectFolder
from stream_infer.connectors.parquet.settings import FolderRejects
from stream_infer.contracts import PlanBudget, Source, joined
from stream_infer.errors import ConfigError, Retryable
from stream_infer.rejects import DeadLetter, Original
from stream_infer.splits import Reject, Split

LIMITS = config.Limits(record_bytes=1000)


class Positions(dict[str, Any]):
    def unseen(self, object_ids: Any) -> set[str]:
        return set(object_ids)


def _letter(number: int, split: Split, **original: Any) -> DeadLetter:
    reject = Reject(f"kafka://c/t/0/{number}", "s", "infer", "ValueError", "no", 2, 1.5)
    return DeadLetter(number + 1, reject, 0, split, Original(**original) if original else None)


def _split(number: int) -> Split:
    return Split.of("s", {"start": number}, folder="date=2026-01-01", records=1, bytes=1)


@pytest.mark.parametrize("sample", [0, 4])
def test_a_split_has_one_file_of_rejects_however_often_it_is_told(tmp_path: Path, sample: int) -> None:
    target = RejectFolder.from_config(FolderRejects(url=str(tmp_path / "rejects"), sample=sample))
    one, two = _split(1), _split(2)
    letters = [_letter(0, one, value=b"payload"), _letter(1, one), _letter(2, two, value=b"x")]
    assert target.originals == sample
    target.publish(letters)
    target.publish(letters[:2])
    rows = pq.read_table(tmp_path / "rejects").sort_by("record_id").to_pylist()
    assert [row["record_id"] for row in rows] == [f"kafka://c/t/0/{number}" for number in range(3)]
    assert [row["split_id"] for row in rows] == [one.split_id, one.split_id, two.split_id]
    assert [row["sample"] for row in rows] == ([b"payl", None, b"x"] if sample else [None] * 3)


def _messages(servers: str, topic: str) -> Iterator[Any]:
    consumer = KafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)
    consumer.assign([partition := TopicPartition(topic, 0)])
    consumer.seek_to_beginning()
    while consumer.position(partition) < consumer.end_offsets([partition])[partition]:
        for messages in consumer.poll(1000).values():
            yield from messages
    consumer.close()


def _plan(source: Source) -> list[Split]:
    position, splits = Positions(), []
    for part in source.plan(position, PlanBudget(10, 1000, 2**20, 0.0, 1.8e9)):
        position.update(part.positions)
        splits += [part.split] if part.split else []
    return splits


def test_a_message_carries_the_original_and_what_happened(kafka: str, kafka_topic: Callable[..., str]) -> None:
    topic, rejects = kafka_topic(), kafka_topic()
    settings = KafkaSettings(name="s", kind="kafka", servers=kafka, topics=[topic], format="binary")
    source = KafkaSource.from_config(settings, pipeline="p", limits=LIMITS)
    producer = Producer({"bootstrap.servers": kafka})
    producer.produce(topic, b"good")
    producer.produce(topic, b"\xffvalue", key=b"\x01key", headers=[("mine", b"\x02"), ("none", None)])
    producer.flush()
    (split,) = _plan(source)
    reject = Reject(list(record_ids(parse(split.bounds)))[1], "s", "infer", "ValueError", "no\nmore", 2, 1.5)
    reader = source.reader()
    letter = DeadLetter(1, reject, 0, split, reader.original(split, reject, 900))
    target = RejectTopic.from_config(TopicRejects(kafka_topic=rejects), [settings])
    target.publish([letter])
    target.publish([letter, replace(letter, original=Original(b"k", b"cut", missing="too_large"))])
    first, again, cut = _messages(kafka, rejects)
    assert (first.key, first.value) == (b"\x01key", b"\xffvalue")
    assert list(first.headers)[:2] == [("mine", b"\x02"), ("none", None)]
    headers = dict(first.headers)
    assert headers["stream-infer-coordinate"].decode() == reject.record_id
    shown = {name: headers[f"stream-infer-{name}"] for name in ("source", "stage", "error", "reason", "attempts")}
    assert shown == {"source": b"s", "stage": b"infer", "error": b"ValueError", "reason": b"no\nmore", "attempts": b"2"}
    assert dict(again.headers)["stream-infer-id"] == headers["stream-infer-id"]
    assert (cut.value, dict(cut.headers)["stream-infer-payload"]) == (None, b"too_large")
    assert reader.original(split, reject, 2).missing == "too_large"
    # replay reads that record alone, as another split each time
    one, two = (split.for_replay(reject, number) for number in (1, 2))
    assert len({split.split_id, one.split_id, two.split_id}) == 3
    assert split.for_replay(reject, 1).split_id == one.split_id
    rows = [row for piece in reader.read(one) for row in piece.table.to_pylist()]
    assert [row["record_id"] for row in rows] == [reject.record_id]
    target.close()
    source.close()


def test_a_topic_that_does_not_take_them_is_retryable() -> None:
    target = RejectTopic.from_config(
        TopicRejects(kafka_topic="t", servers="127.0.0.1:1", options={"message.timeout.ms": 500}), []
    )
    with pytest.raises(Retryable, match="does not take the rejects"):
        target.publish([_letter(0, _split(1))])
    with pytest.raises(ConfigError, match=r"rejects\.servers"):
        RejectTopic.from_config(TopicRejects(kafka_topic="t"), [])


def test_a_topic_that_is_not_there_is_said_to_be_missing(kafka: str) -> None:
    settings = TopicRejects(kafka_topic="nowhere", servers=kafka, options={"message.timeout.ms": 500})
    target = RejectTopic.from_config(settings, [])
    with pytest.raises(
        Retryable, match=r"topic 'nowhere' is not there on Kafka at .*; create it, or correct rejects\.kafka_topic"
    ):
        target.publish([_letter(0, _split(1))])


def test_objects_and_rows_are_replayed_and_shown_as_they_came(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name,n\nx,1\ny,2\n")
    (tmp_path / "b.txt").write_bytes(b"\xff" * 20)
    (tmp_path / "c.parquet").write_bytes(b"broken")
    settings = FilesSettings(name="s", kind="files", url=str(tmp_path), discover=Discover(settle=0.0), format="auto")
    source = FilesSource.from_config(settings, pipeline="p", limits=LIMITS)
    (split,) = _plan(source)
    reader = source.reader()
    read = joined(list(reader.read(split)))
    broken = next(reject for reject in read.rejects if "c.parquet" in reject.record_id)
    assert broken.whole
    items = {item["key"].rpartition(".")[2]: item for item in split.bounds["objects"]}
    row = Reject(reader.record_id(ObjectRef(**items["csv"]), 1), "s", "infer", "E", "r", 1, 1.0)
    text = Reject(reader.record_id(ObjectRef(**items["txt"]), 0), "s", "infer", "E", "r", 1, 1.0)
    assert json.loads(reader.original(split, row, 100).value or b"") == {"name": "y", "n": 2}
    assert reader.original(split, text, 5) == Original(items["txt"]["key"].encode(), b"\xff" * 5, missing="too_large")
    assert reader.original(split, broken, 100).value == b"broken"
    again = split.for_replay(row, 1)
    (piece,) = reader.read(again)
    assert piece.table.column("record_id").to_pylist() == [row.record_id]
    assert again.folder == split.folder
    assert split.for_replay(broken, 1).bounds == {"objects": [items["parquet"]], "replay": 1}
    # a replay of a replay is another one
    assert again.for_replay(row, 2).bounds == {**again.bounds, "replay": 2}
    (tmp_path / "b.txt").unlink()
    assert reader.original(split, text, 5).missing == "deleted"
    source.close()


def test_rejects_may_not_lie_among_the_rows() -> None:
    document = {
        "name": "p",
        "ledger": "sqlite:///x.db",
        "sources": [{"name": "s", "kind": "files", "url": "s3://in/docs"}],
        "model": {"kind": "python", "python": "m:M"},
        "sink": {"url": "s3://out/rows/"},
    }
    for url in ("s3://out/rows", "s3://out/rows/rejects", "s3://out", "s3://in/docs/rejects"):
        with pytest.raises(ConfigError, match="give the rejects a folder of their own"):
            config.parse({**document, "rejects": {"url": url}})
    for url in ("s3://out/rows-rejected/", "s3://rejects/"):
        assert config.parse({**document, "rejects": {"url": url, "sample": "1KiB"}}).rejects.sample == 1024
    assert config.parse({**document, "rejects": {"sample": "0B"}}).rejects.sample == 0
