"""A ledger that is lost with work in flight and a bisected split, and a bad record that is repaired later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from kafka import KafkaConsumer

from tests.chaos.crash_kit import KILLED, Life, living, on_disk, whole
from tests.chaos.watch import of_folder

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]
REPAIRED = """
import hashlib

class Hash:
    def infer(self, batch):
        return {"digest": [hashlib.sha256(text.encode()).hexdigest() for text in batch.column("text").to_pylist()]}
"""


def test_a_lost_ledger_and_a_repaired_model(
    kafka: str, kafka_topic: Callable[..., str], ray_cluster: str, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.db"
    topic = kafka_topic(2)
    kafka_topic(name=f"{topic}.rejects")
    life = Life(tmp_path / "life", kafka, topic, kafka_topic(), f"sqlite:///{ledger}", on_disk(tmp_path))
    with living(life, of_folder(tmp_path / "out")) as (it, watch), life.joined(ray_cluster):
        it.feed(messages=40, bad=True)
        assert it.run(attempts=1) == 0, it.tail()
        it.feed(messages=80)
        assert it.run("receipts.before") == KILLED, it.tail()
        for file in tmp_path.glob("ledger.db*"):
            file.unlink()
        summary = it.ask("rebuild", "--settle", "10")
        assert summary["committed"] > 0
        assert summary["planned"] > 0
        print("\n" + json.dumps(summary))
        whole(it, watch)

        (it.folder / "hash_model.py").write_text(REPAIRED)
        assert it.ask("rejects", "replay", "--error", "WorkerDied")["asked"] in (0, 1)
        assert it.ask("rejects", "replay") == {"asked": 1}
        (record,) = it.bad
        it.expected[record] = hashlib.sha256(b"kill me").hexdigest()
        assert it.run() == 0, it.tail()
        assert [item["state"] for item in it.ask("rejects", "list")] == ["resolved"]
        it.bad.clear()
        watch.look()
        assert watch.verdict(it.expected) == {"lost": [], "wrong": [], "troubles": []}
        audit = it.ask("audit")
        assert (audit["planned"], audit["committed"]) == (len(it.expected), len(it.expected))
        assert [status["state"] for status in it.ask("where", record)] == ["committed"]

        # and once more: what was replayed stays replayed
        for file in tmp_path.glob("ledger.db*"):
            file.unlink()
        it.ask("rebuild", "--settle", "1")
        it.feed(messages=10)
        assert it.run() == 0, it.tail()
        watch.look()
        assert watch.verdict(it.expected) == {"lost": [], "wrong": [], "troubles": []}
        assert it.ask("audit")["planned"] == len(it.expected)
    _only_reject_is_published(tmp_path, kafka, topic, record)


def _only_reject_is_published(folder: Path, kafka: str, topic: str, record: str) -> None:
    """Check the files and the messages of the one reject, with its original."""
    rows = pq.read_table(folder / "rejects").to_pylist()
    assert {row["record_id"].split("/", 3)[3] for row in rows} == {record}
    assert {row["sample"] for row in rows} == {b"kill me"}
    consumer = KafkaConsumer(
        f"{topic}.rejects", bootstrap_servers=kafka, auto_offset_reset="earliest", consumer_timeout_ms=5000
    )
    messages = list(consumer)
    assert {message.value for message in messages} == {b"kill me"}
    assert {dict(message.headers)["stream-infer-coordinate"].decode() for message in messages} == {rows[0]["record_id"]}
