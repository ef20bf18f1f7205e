"""Seven staged troubles against the real service: the doctor names each, and is content again when it is over.

Its words are printed: ``pytest -m chaos -s tests/chaos/test_doctor.py``. The page is photographed on the way; with
``STREAM_INFER_PICTURES=docs/images`` the pictures are kept there.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic
from playwright.sync_api import Browser

from stream_infer.ops.parts import PartMissing, Proxy, S3Server, start_toxiproxy
from tests.chaos.service_kit import Service, files_source

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]
_MODEL = """
import hashlib, pathlib, time
class Digest:
    def infer(self, batch):
        texts = batch.column("text").to_pylist()
        time.sleep(float(pathlib.Path({pace!r}).read_text()) * len(texts))
        for text in texts:
            if text.startswith("raise"):
                raise ValueError("cannot take " + text)
        return {{"digest": [hashlib.sha256(text.encode()).hexdigest() for text in texts]}}
"""


_SCREENS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1200, "height": 860}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1200, "height": 860}},
    "low": {"color_scheme": "light", "viewport": {"width": 1200, "height": 640}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 1560}},
}


@dataclass
class Ward:
    """The service under examination and the means to trouble it."""

    service: Service
    topic: str
    servers: str
    bucket: str
    client: Any
    proxy: Proxy
    pace: Path
    ledger: Path
    pictures: Path

    def send(self, count: int, value: Callable[[int], bytes]) -> None:
        producer = KafkaProducer(bootstrap_servers=self.servers, linger_ms=20)
        for number in range(count):
            producer.send(self.topic, value=value(number))
        producer.flush()
        producer.close()

    def put(self, name: str, count: int) -> None:
        for number in range(count):
            self.client.put_object(Bucket=self.bucket, Key=f"docs/{name}-{number}.txt", Body=b"object")

    def findings(self) -> list[dict[str, str]]:
        answer = json.loads(self.service.get("/api/v1/doctor") or '{"findings": []}')
        findings: list[dict[str, str]] = answer["findings"]
        return findings

    def says(self, rule: str, *words: str) -> None:
        """Wait for the doctor's finding and print it."""
        said: list[dict[str, str]] = []

        def heard() -> bool:
            said[:] = [item for item in self.findings() if item["rule"] == rule]
            return any(all(word in item["sentence"] for word in words) for item in said)

        self.service.until(heard, f"told {rule!r}; instead {self.findings()}", 240)
        for item in said:
            print(f"\n[{item['severity']}] {item['sentence']}\n    → {item['advice']}")

    def photograph(self, browser: Browser, name: str, severity: str, *screens: str) -> None:
        for screen in screens:
            page = browser.new_page(**_SCREENS[screen])
            page.set_default_timeout(120_000)
            page.goto(self.service.url)
            page.wait_for_selector(f"html.live .verdict.{severity}")
            page.screenshot(path=self.pictures / f"{name.replace('*', screen)}.png")
            page.close()

    def is_content(self) -> None:
        def healed() -> bool:
            return not [item for item in self.findings() if item["severity"] == "bad"] and bool(self.findings())

        self.service.until(healed, "well again", 240)


@pytest.fixture(scope="module")
def ward(
    kafka: str,
    kafka_topic: Callable[..., str],
    s3_server: S3Server,
    s3_client: Any,
    ray_cluster: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Ward]:
    folder, topic = tmp_path_factory.mktemp("ward"), kafka_topic(partitions=2, name="support-tickets")
    for bucket in ("inbox", "answers"):
        s3_client.create_bucket(Bucket=bucket)
    pictures = Path(os.environ.get("STREAM_INFER_PICTURES") or folder).absolute()
    pace = folder / "pace"
    pace.write_text("0")
    (folder / "digest.py").write_text(_MODEL.format(pace=str(pace)))
    stack = contextlib.ExitStack()
    try:
        started = stack.enter_context(start_toxiproxy(folder))
    except PartMissing as missing:
        pytest.skip(str(missing))
    proxy = started.proxy("s3", int(s3_server.endpoint_url.rpartition(":")[2]))
    far = {**s3_server.storage(), "endpoint_url": f"http://127.0.0.1:{proxy.port}"}
    settings = {
        "name": "tickets",
        "ledger": f"sqlite:///{folder}/ledger.db",
        "sources": [
            {"name": "stream", "kind": "kafka", "servers": kafka, "topics": [topic]},
            files_source("inbox", "s3://inbox/docs/", far),
        ],
        "model": {"kind": "python", "python": "digest:Digest", "replicas": {"max": 1}},
        "stages": "three",
        "limits": {"split_records": 50, "attempts": 1},
        "sink": {"url": "s3://answers/tickets/", "storage": s3_server.storage()},
    }
    service = Service(folder, settings, {"RAY_ADDRESS": ray_cluster})
    stack.callback(service.end)
    with stack:
        service.start()
        yield Ward(service, topic, kafka, "inbox", s3_client, proxy, pace, folder / "ledger.db", pictures)


def test_a_service_that_is_well_is_told_so(ward: Ward, browser: Browser) -> None:
    ward.pace.write_text("0.003")
    over = threading.Event()

    def feed() -> None:
        producer = KafkaProducer(bootstrap_servers=ward.servers, linger_ms=20)
        for number in range(100_000):
            producer.send(
                ward.topic, value=b"\xff" if number % 400 == 7 else b"my printer is on fire, again %d" % number
            )
            if number % 40 == 0:
                ward.put(f"letter-{number}", 1)
            if over.wait(0.012):
                break
        producer.flush()
        producer.close()

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        ward.service.until(lambda: ward.service.status()["records"]["committed"] > 1000, "at work", 300)
        ward.says("well", "all is well")
        ward.photograph(browser, "page-*", "well", "light", "dark", "phone")
    finally:
        over.set()
        thread.join()


def test_a_slow_model_is_named(ward: Ward) -> None:
    ward.pace.write_text("0.02")
    ward.send(8000, lambda number: b"message %d" % number)
    ward.says("infer is slow", "infer is busy", "records wait")
    ward.pace.write_text("0")
    ward.service.until(lambda: ward.service.status()["records"]["in_flight"] == 0, "through", 240)


def test_a_store_that_is_away_is_named(ward: Ward, browser: Browser) -> None:
    ward.pace.write_text("0.1")
    ward.put("far", 1500)  # more splits than are read ahead, so that some are still to be read when the store goes
    ward.service.until(lambda: ward.service.status()["sources"][1]["in_flight"] > 0, "planned")
    ward.proxy.cut()
    ward.says("source stalled", "source inbox", "S3")
    ward.says("stage stalled", "read waits for S3")
    ward.photograph(browser, "page-trouble", "bad", "low")
    ward.proxy.mend()
    ward.pace.write_text("0")
    ward.is_content()


def test_rejects_are_named_with_their_reason(ward: Ward) -> None:
    ward.send(1500, lambda number: b"raise" if number % 3 == 0 else b"message %d" % number)
    ward.says("many rejects", "infer/ValueError of stream")


def test_a_slow_ledger_is_named(ward: Ward) -> None:
    """Another process takes the write lock of the database again and again."""
    over = threading.Event()

    def hold() -> None:
        with contextlib.closing(sqlite3.connect(ward.ledger, timeout=60, isolation_level=None)) as other:
            while not over.is_set():
                other.execute("BEGIN IMMEDIATE")
                over.wait(3.0)
                other.execute("COMMIT")
                over.wait(0.05)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        ward.send(400, lambda number: b"message %d" % number)
        ward.says("slow ledger", "ledger commits take")
    finally:
        over.set()
        thread.join()


def test_a_store_that_comes_and_goes_is_named(ward: Ward) -> None:
    over = threading.Event()

    def flap() -> None:
        while not over.wait(0.5):
            ward.proxy.cut()
            over.wait(0.7)
            ward.proxy.mend()

    thread = threading.Thread(target=flap)
    thread.start()
    try:
        ward.put("near", 1000)
        ward.says("stage fails", "read waits for S3 at times", "of its tries")
    finally:
        over.set()
        thread.join()
    ward.is_content()


def test_a_producer_that_stopped_is_named(ward: Ward) -> None:
    ward.says("producer stopped", "no new offsets on stream since")


def test_a_source_that_stopped_is_named(ward: Ward) -> None:
    admin = KafkaAdminClient(bootstrap_servers=ward.servers)
    admin.delete_topics([ward.topic])
    ward.service.until(lambda: ward.topic not in admin.list_topics(), "deleted")
    admin.create_topics([NewTopic(ward.topic, 2, 1)])
    admin.close()
    ward.says("source stopped", "source stream stopped")
