"""The real service under load, and the faults that can be made in what it depends on, is given, or is."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from kafka import KafkaProducer

from stream_infer.ops.parts import Proxy
from tests.chaos.service_kit import Service, files_source

PARTITIONS = 4
_BUCKET = "seen-in"
_MODEL = """
import hashlib, os, pathlib, time
import numpy as np

HERE = pathlib.Path(__file__).parent


class Digest:
    def load(self, device):
        while (HERE / "unloadable").exists():
            time.sleep(0.1)

    def cost(self, prepared):
        return np.array([len(text) for text in prepared.column("text").to_pylist()])

    def infer(self, batch):
        while (HERE / "hanging").exists():
            time.sleep(0.1)
        texts = batch.column("text").to_pylist()
        time.sleep(0.002 * len(texts))
        if any(text.startswith("kill") for text in texts):
            os._exit(1)
        for text in texts:
            if text.startswith("raise") or (HERE / "failing").exists():
                raise ValueError("cannot take " + text)
        return {"digest": [hashlib.sha256(text.encode()).hexdigest() for text in texts]}
"""


class Load(threading.Thread):
    """Messages and objects without end, up to fifty a second.

    Attributes:
        spoilt: every fourth message makes the model raise, and all of them are ten minutes old.
    """

    def __init__(self, servers: str, topic: str, client: Any) -> None:
        super().__init__(name="load", daemon=True)
        self.spoilt = False
        self._topic, self._client = topic, client
        self._producer = KafkaProducer(bootstrap_servers=servers, linger_ms=20)
        self._over = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._over.wait(0.02):
            number += 1
            text = f"text {number} {'x' * (number % 40)}"
            if number % 20 == 0:
                self._client.put_object(Bucket=_BUCKET, Key=f"docs/{number}.txt", Body=text.encode())
            text = f"raise {text}" if self.spoilt and number % 4 == 0 else text
            at = int((time.time() - (600 if self.spoilt else 0)) * 1000)
            self._producer.send(self._topic, text.encode(), partition=number % PARTITIONS, timestamp_ms=at)

    def kill(self) -> None:
        """A few messages, each of which ends the process that takes it."""
        for number in range(PARTITIONS):
            self._producer.send(self._topic, b"kill", partition=number)

    def end(self) -> None:
        self._over.set()
        self.join(60)
        self._producer.close()


@dataclass(frozen=True)
class Inputs:
    """What the service reads: a topic, and a bucket behind a proxy."""

    servers: str
    topic: str
    client: Any
    storage: dict[str, Any]
    proxy: Proxy


@dataclass
class Troubled:
    """A service under load; each fault lasts as long as its block."""

    folder: Path
    service: Service
    inputs: Inputs
    load: Load

    @contextlib.contextmanager
    def the(self, fault: str) -> Iterator[None]:
        """The model is ``unloadable``, ``hanging`` or ``failing`` on everything; the service is ``miscounting``."""
        (self.folder / fault).touch()
        try:
            yield
        finally:
            (self.folder / fault).unlink()

    @contextlib.contextmanager
    def spoilt_messages(self) -> Iterator[None]:
        self.load.spoilt = True
        try:
            yield
        finally:
            self.load.spoilt = False

    @contextlib.contextmanager
    def locked_ledger(self) -> Iterator[None]:
        """Another process holds the database's write lock again and again."""
        over = threading.Event()

        def hold() -> None:
            database = self.folder / "ledger.db"
            with contextlib.closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as other:
                while not over.wait(0.05):
                    other.execute("BEGIN IMMEDIATE")
                    over.wait(3.0)
                    other.execute("COMMIT")

        with _beside(hold, over):
            yield

    @contextlib.contextmanager
    def store_away(self) -> Iterator[None]:
        self.inputs.proxy.cut()
        try:
            yield
        finally:
            self.inputs.proxy.mend()

    @contextlib.contextmanager
    def store_flapping(self) -> Iterator[None]:
        """The store goes and comes again and again: away for longer than the client's own tries, which tell nobody, and back for
        long enough to be listed, or nothing would be read."""
        over = threading.Event()

        def flap() -> None:
            while not over.is_set():
                self.inputs.proxy.cut()
                over.wait(8)
                self.inputs.proxy.mend()
                over.wait(3)

        with _beside(flap, over):
            yield

    def expire(self) -> None:
        """Every message that is in the topic now is gone."""
        admin = AdminClient({"bootstrap.servers": self.inputs.servers})
        everything = [
            TopicPartition(self.inputs.topic, number, -1) for number in range(PARTITIONS)
        ]  # -1: up to the end
        for done in admin.delete_records(everything).values():
            done.result(30)


@contextlib.contextmanager
def _beside(call: Any, over: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=call)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def troubled(folder: Path, inputs: Inputs, otlp: str, cluster: str) -> Iterator[Troubled]:
    """The service, ready and under load while the block runs."""
    for bucket in (_BUCKET, "seen-out"):
        inputs.client.create_bucket(Bucket=bucket)
    (folder / "digest.py").write_text(_MODEL)
    environment = {"RAY_ADDRESS": cluster, "STREAM_INFER_MISCOUNT": str(folder / "miscounting")}
    service = Service(folder, _settings(folder, inputs, otlp), environment)
    service.command = [sys.executable, str(Path(__file__).with_name("miscounting.py")), *service.command[3:]]
    load = Load(inputs.servers, inputs.topic, inputs.client)
    try:
        service.start()
        load.start()
        yield Troubled(folder, service, inputs, load)
    finally:
        service.end()
        load.end()


def _settings(folder: Path, inputs: Inputs, otlp: str) -> dict[str, Any]:
    far = {**inputs.storage, "endpoint_url": f"http://127.0.0.1:{inputs.proxy.port}"}
    return {
        "name": "seen",
        "ledger": f"sqlite:///{folder}/ledger.db",
        "sources": [
            {"name": "stream", "kind": "kafka", "servers": inputs.servers, "topics": [inputs.topic]},
            files_source("inbox", f"s3://{_BUCKET}/docs/", far),
        ],
        "model": {"kind": "python", "python": "digest:Digest", "replicas": {"max": 1}},
        "stages": "three",
        "sink": {"url": "s3://seen-out/rows/", "storage": inputs.storage},
        "limits": {"split_records": 50, "circuit_breaker": {"records": 200}},
        "telemetry": {"otlp": otlp},
    }
