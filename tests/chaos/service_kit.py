"""A running service whose dependencies fail, its input, and the oracle of its output."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

import yaml
from botocore.exceptions import BotoCoreError, ClientError
from kafka import KafkaProducer

from stream_infer.ops.parts.process import free_port
from tests.chaos.watch import Fetch, Listing, Watch

HERE = Path(__file__).parent
PATIENCE = 400.0  # seconds: a shared machine is slow at times, and Ray may need three starts on it
PYTHONPATH = os.pathsep.join(map(str, [HERE.parent / "e2e", HERE.parents[1]]))


class Service:
    """`stream-infer run`, not ``--until-idle``, over a pipeline file of its own.

    Args:
        settings: the pipeline file without ``serve``.
        environment: additional variables of its process.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.file = folder / "pipeline.yaml"
        self.log = folder / "service.log"
        self._port = free_port()
        self.file.write_text(yaml.safe_dump({**settings, "serve": {"port": self._port}}))
        self.environment = {**os.environ, "PYTHONPATH": PYTHONPATH, **(environment or {})}
        self.command = [sys.executable, "-m", "stream_infer.ops.cli", "run", str(self.file)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *arguments: str, ready: bool = True) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.command, *arguments], env=self.environment, cwd=self.folder, stdout=log, stderr=log
            )
        if ready:
            self.until(lambda: self.get("/readyz") is not None, "ready")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Send SIGTERM and return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def get(self, path: str) -> str | None:
        """The service's answer at this path; None while there is none of status 200."""
        try:
            with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{self._port}{path}", timeout=20) as answer:
                return str(answer.read().decode())
        except (HTTPError, URLError, OSError):
            return None

    def state(self) -> tuple[int, str]:
        """Status code and state that ``/readyz`` answers; 0 while it does not."""
        try:
            with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{self._port}/readyz", timeout=20) as answer:
                return answer.status, json.load(answer)["state"]
        except HTTPError as error:
            return error.code, json.load(error)["state"]
        except (URLError, OSError):
            return 0, ""

    def status(self) -> dict[str, Any]:
        """The status document, empty while there is none."""
        return json.loads(self.get("/api/v1/status") or "{}")

    def troubles(self) -> list[str]:
        """Every sentence of trouble in the status, those of the ledger included."""
        try:
            opener = build_opener(ProxyHandler({}))
            with opener.open(f"http://127.0.0.1:{self._port}/api/v1/status", timeout=20) as answer:
                document = json.loads(answer.read())
        except HTTPError as error:
            return [error.read().decode()]
        except (URLError, OSError):
            return []
        of_sources = [source.get(name) for source in document["sources"] for name in ("trouble", "failure")]
        of_all = [document.get(name) for name in ("trouble", "ledger_trouble")]
        return [text for text in [*of_all, *document.get("stalled", []), *of_sources] if text]

    def shows(self, *words: str) -> None:
        """Return when one sentence of trouble holds all the words; fails where none ever does."""
        self.until(lambda: any(all(word in text for word in words) for text in self.troubles()), f"trouble {words}")

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples with these labels."""
        total = 0.0
        for line in (self.get("/metrics") or "").splitlines():
            if line.startswith((f"{name}{{", f"{name} ")) and all(f'{k}="{v}"' in line for k, v in labels.items()):
                total += float(line.split(" # ")[0].rsplit(" ", 1)[1])
        return total

    def ask(self, name: str, *more: str) -> Any:
        """Run a command with ``--json`` and return the document that it prints."""
        command = [sys.executable, "-m", "stream_infer.ops.cli", name, str(self.file), *more, "--json"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=self.folder, env=self.environment
        )
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def until(self, condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
        """Return when the condition holds; fails after a deadline, or at once if the service ended by itself."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.alive, f"the service ended with {self.process.returncode}: {self.tail()}"
            assert time.monotonic() < deadline, f"not {what} within {seconds} s: {self.troubles()}: {self.tail()}"
            time.sleep(0.1)

    def end(self) -> None:
        if self.alive:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()


@dataclass
class World:
    """A service, its input, and the watch over its output.

    Attributes:
        expected: record name, as the watch shortens it, to SHA-256 of its content.
        expected_losses: records that were sent and must end as named losses.
    """

    service: Service
    watch: Watch
    producer: KafkaProducer | None = None
    put: Callable[[str, bytes], str] | None = None
    expected: dict[str, str] = field(default_factory=dict)
    expected_losses: set[str] = field(default_factory=set)
    number: int = 0

    def messages(self, topic: str, count: int = 40, partitions: int = 1) -> list[str]:
        """Send messages; return their names once the broker has them."""
        assert self.producer is not None
        sent = []
        for _ in range(count):
            self.number += 1
            value = f"message {self.number}".encode()
            sent.append((value, self.producer.send(topic, value, partition=self.number % partitions)))
        names = []
        for value, future in sent:
            at = future.get(120)
            names.append(f"{at.topic}/{at.partition}/{at.offset}")
            self.expected[names[-1]] = hashlib.sha256(value).hexdigest()
        return names

    def objects(self, count: int = 5, size: int = 0) -> list[str]:
        """Store objects and return their names."""
        assert self.put is not None
        names = []
        for _ in range(count):
            self.number += 1
            value = f"object {self.number} ".encode().ljust(size, b"x")
            names.append(self.put(f"{self.number}.txt", value) + "#0")
            self.expected[names[-1]] = hashlib.sha256(value).hexdigest()
        return names

    def lose(self, names: list[str]) -> None:
        """Expect these records as named losses."""
        self.expected_losses.update(names)
        for name in names:
            self.expected.pop(name, None)

    def settled(self) -> None:
        """Wait until every record is there once with the right content and nothing is in flight. Fails after a deadline."""

        def whole() -> bool:
            self.watch.look()
            verdict = self.watch.verdict(self.expected)
            assert (verdict["wrong"], verdict["troubles"]) == ([], [])
            return not verdict["lost"]

        self.service.until(whole, "whole")
        self.service.until(lambda: self.service.status().get("records", {}).get("in_flight") == 0, "committed")
        records = self.service.status()["records"]
        assert (records["committed"], records["lost"]) == (len(self.expected), len(self.expected_losses))

    def works(self, feed: Callable[[], object]) -> None:
        """Check after a fault that no trouble is left and that new input is processed."""
        feed()
        self.settled()
        self.service.until(lambda: not self.service.troubles(), "without trouble")

    def audited(self) -> None:
        """Check that the product's own audit counts the same records. The service may run meanwhile."""
        assert self.expected
        audit = self.service.ask("audit")
        delivered, lost = len(self.expected), len(self.expected_losses)
        assert audit["planned"] == delivered + lost
        assert (audit["committed"], audit["lost"], audit["duplicated"]) == (delivered, lost, 0)
        assert (audit["rejected"], audit["in_flight"]) == (0, 0)


@contextmanager
def living(service: Service, seen: tuple[Listing, Fetch], every: float = 0.2, **more: Any) -> Iterator[World]:
    """A started service with its watch. At the end of the block it is stopped and its output checked a last time."""
    listing, fetch = seen
    watch = Watch(patient(listing), patient(fetch), service.folder / "mirror", every)
    watch.start()
    try:
        service.start()
        world = World(service, watch, **more)
        yield world
    finally:
        service.end()
        watch.finish()


def patient(look: Callable[..., Any]) -> Callable[..., Any]:
    """The function ``look``, repeated until it succeeds at a store that may be killed meanwhile."""

    def looked(*arguments: Any) -> Any:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                answer = look(*arguments)
                return answer if isinstance(answer, bytes) else list(answer)
            except (BotoCoreError, ClientError):
                assert time.monotonic() < deadline
                time.sleep(0.2)

    return looked


def on_disk(folder: Path) -> Callable[[str, bytes], str]:
    """Puts files into a folder, each whole at once; returns the record's name without its row."""
    folder.mkdir(parents=True, exist_ok=True)

    def put(name: str, data: bytes) -> str:
        path = folder / name
        path.with_suffix(".tmp").write_bytes(data)
        path.with_suffix(".tmp").rename(path)
        return f"file://{path}"

    return put


def in_bucket(client: Any, bucket: str, prefix: str) -> Callable[[str, bytes], str]:
    """Puts objects into a bucket; returns the record's name without version and row."""

    store = patient(lambda key, data: [client.put_object(Bucket=bucket, Key=key, Body=data)])

    def put(name: str, data: bytes) -> str:
        store(f"{prefix}{name}", data)
        return f"s3://{bucket}/{prefix}{name}"

    return put


MODEL = {"kind": "python", "python": "hash_model:Hash", "replicas": {"min": 1, "max": 2}}


def files_source(name: str, url: str, storage: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A files source that notices within a second."""
    quick = {"settle": "0s", "poll": "500ms"}
    document = {"name": name, "kind": "files", "url": url, "format": "text", "discover": quick, **more}
    return {**document, "storage": dict(storage)} if storage else document
