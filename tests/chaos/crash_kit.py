"""A service that is killed and started again and again: its input, its starts and its output."""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from kafka import KafkaProducer

from tests.chaos.watch import Watch

HERE = Path(__file__).parent
PATH = os.pathsep.join([str(HERE.parent / "e2e"), str(HERE.parents[1])])
RUN_SECONDS = 1800  # the last start isolates some thirty records that each end many workers
KILLED = -9
# Workers import this at their start, for the folder is on their path; a cluster that stands gives them no environment.
_ARM_WORKERS = """
import os, pathlib
os.environ["STREAM_INFER_CRASH"] = pathlib.Path(__file__).with_name("armed").read_text()
"""


@dataclass(frozen=True)
class Locations:
    """Locations of the files of one life.

    Attributes:
        put: store an input object of that name.
        url_in / url_out / url_done / url_rejects: as the pipeline file has them.
        name_of: the record's name without its version, as the oracle shortens it.
        storage: the pipeline file's ``storage``.
    """

    put: Callable[[str, bytes], None]
    url_in: str
    url_out: str
    url_done: str
    url_rejects: str
    name_of: Callable[[str], str]
    storage: dict[str, Any]


class Starter:
    """`starter.py` for the starts of one folder, one at a time, joined to a Ray cluster.

    Attributes:
        log: what all of them wrote.
        pid: of the last start.
    """

    def __init__(self, folder: Path, cluster: str, log: str = "service.log") -> None:
        self._folder = folder
        self.log = folder / log
        self.pid = 0
        environment = {**os.environ, "PYTHONPATH": PATH, "RAY_ADDRESS": cluster}
        command = [sys.executable, str(HERE / "starter.py")]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
        self._process = subprocess.Popen(command, env=environment, **pipes)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._orders, self._answers = self._process.stdin, self._process.stdout

    def start(self, arguments: list[str], environment: dict[str, str] | None = None) -> None:
        """Start the service once, after the last start has ended."""
        order = {"arguments": arguments, "environment": environment or {}, "folder": str(self._folder)}
        self._orders.write(json.dumps({**order, "log": str(self.log)}).encode() + b"\n")
        self.pid = int(self._answers.readline())

    def wait(self) -> int:
        """The exit status of the last start. Raises TimeoutExpired, and ends it, when it does not come."""
        if not select.select([self._answers], [], [], RUN_SECONDS)[0]:
            os.kill(self.pid, signal.SIGKILL)
            self._answers.readline()
            raise subprocess.TimeoutExpired("stream-infer", RUN_SECONDS)
        return int(self._answers.readline())

    def run(self, arguments: list[str], environment: dict[str, str]) -> int:
        """Start the service, wait for its end and return the exit status."""
        self.start(arguments, environment)
        return self.wait()

    def close(self) -> None:
        """End the process that starts the service."""
        self._orders.close()
        self._process.wait(RUN_SECONDS)


@dataclass
class Life:
    """A pipeline over one topic and one folder, its starts and its input.

    Attributes:
        expected: record name to SHA-256 of its content, of all that was sent and can be delivered.
        killed: monotonic seconds of each kill.
    """

    folder: Path
    servers: str
    topic: str
    events: str
    ledger: str
    locations: Locations
    expected: dict[str, str] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)
    killed: list[float] = field(default_factory=list)
    _number: int = 0
    actors: int = 0  # 0: as many as the cluster has room for
    _starter: Starter | None = None

    def __post_init__(self) -> None:
        self._producer = KafkaProducer(bootstrap_servers=self.servers, linger_ms=5)
        (self.folder / "fired").mkdir(parents=True)
        (self.folder / "sitecustomize.py").write_text(_ARM_WORKERS)

    def feed(self, messages: int = 40, objects: int = 4, *, bad: bool = False) -> None:
        """Send input: messages, objects with their notifications, and on request a message that kills its worker."""
        sent = []
        for _ in range(messages):
            self._number += 1
            value = f"message {self._number}".encode()
            sent.append((value, self._producer.send(self.topic, value, partition=self._number % 2)))
        for value, future in sent:
            metadata = future.get(30)
            self.expected[f"{self.topic}/{metadata.partition}/{metadata.offset}"] = hashlib.sha256(value).hexdigest()
        if bad:
            metadata = self._producer.send(self.topic, b"kill me", partition=0).get(30)
            self.bad.add(f"{self.topic}/{metadata.partition}/{metadata.offset}")
        for _ in range(objects):
            self._number += 1
            name, value = f"{self._number % 3}/{self._number}.txt", f"object {self._number}".encode()
            self.locations.put(name, value)
            self.expected[f"{self.locations.name_of(name)}#0"] = hashlib.sha256(value).hexdigest()
            notice = {"Records": [{"eventName": "s3:ObjectCreated:Put", "s3": {"object": {"key": name}}}]}
            self._producer.send(self.events, json.dumps(notice).encode())
        self._producer.flush()

    def run(self, points: str = "", *, workers: str = "", **limits: Any) -> int:
        """One start of the service, to the end of its input or of its process; the exit status.

        Args:
            points: crash points armed in the driver.
            workers: and in its workers.
        """
        arguments = ["run", "--until-idle", str(self.file(limits))]
        environment = {"STREAM_INFER_CRASH": self._armed(points)}
        (self.folder / "armed").write_text(self._armed(workers))
        with (self.folder / "service.log").open("ab") as log:
            log.write(f"--- {points or 'no point'} / {workers or 'no point'} {limits}\n".encode())
        try:
            status = (self._starter.run if self._starter else self._run)(arguments, environment)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{points}: not done after {RUN_SECONDS} s: {self.tail()}") from None
        if status < 0:
            self.killed.append(time.monotonic())
        return status

    def _armed(self, points: str) -> str:
        return f"{self.folder}/fired:{points}" if points else ""

    @contextmanager
    def joined(self, cluster: str) -> Iterator[None]:
        """Within the block, starts join this Ray cluster and come from a process that has imported everything."""
        self._starter, self.actors = Starter(self.folder, cluster), 1
        try:
            yield
        finally:
            self._starter.close()
            self._starter, self.actors = None, 0

    def _run(self, arguments: list[str], environment: dict[str, str]) -> int:
        with (self.folder / "service.log").open("ab") as log:
            command = [sys.executable, "-m", "stream_infer.ops.cli", *arguments]
            given = {**os.environ, "PYTHONPATH": PATH, **environment}
            process = subprocess.Popen(command, env=given, cwd=self.folder, stdout=log, stderr=log)
        try:
            return process.wait(RUN_SECONDS)
        finally:
            process.kill()

    def fired(self, point: str) -> bool:
        return (self.folder / "fired" / point).exists()

    def tail(self) -> str:
        return (self.folder / "service.log").read_text(errors="replace")[-3000:]

    def ask(self, *command: str) -> Any:
        """Run a command with ``--json`` and return the document that it prints."""
        name, *more = command
        done = subprocess.run(
            [sys.executable, "-m", "stream_infer.ops.cli", name, str(self.file()), *more, "--json"],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        )
        return json.loads(done.stdout)

    def file(self, limits: dict[str, Any] | None = None) -> Path:
        """Write the pipeline file and return its path."""
        events = {"kafka": {"servers": self.servers, "topic": self.events}}
        inbox = {
            "name": "inbox",
            "kind": "files",
            "url": self.locations.url_in,
            "storage": self.locations.storage,
            "format": "text",
            "discover": {"settle": "0s", **({"events": events} if self.locations.storage else {})},
            "after": {"move": self.locations.url_done},
        }
        settings = {
            "name": "chaos",
            "ledger": self.ledger,
            "sources": [{"name": "stream", "kind": "kafka", "servers": self.servers, "topics": [self.topic]}, inbox],
            "model": {
                "kind": "python",
                "python": "hash_model:Hash",
                **({"replicas": {"max": self.actors}} if self.actors else {}),
            },
            "sink": {"url": self.locations.url_out, "storage": self.locations.storage},
            "rejects": {
                "url": self.locations.url_rejects,
                "storage": self.locations.storage,
                "kafka_topic": f"{self.topic}.rejects",
                "sample": "16B",
            },
            "limits": {"split_records": 20, "attempts": 5, **(limits or {})},
            "serve": None,
        }
        file = self.folder / "pipeline.yaml"
        file.write_text(yaml.safe_dump(settings))
        return file


def whole(it: Life, watch: Watch, **limits: Any) -> None:
    """Start undisturbed, then check that every record is exactly one row or one reject."""
    it.feed()
    assert it.run(**limits) == 0, it.tail()
    watch.look()
    assert watch.verdict(it.expected) == {"lost": [], "wrong": [], "troubles": []}
    audit = it.ask("audit")
    assert (audit["lost"], audit["duplicated"], audit["in_flight"]) == (0, 0, 0), audit
    rejects = {item["record_id"].split("/", 3)[3] for item in it.ask("rejects", "list")}
    assert rejects == it.bad
    assert audit["planned"] == len(it.expected) + len(it.bad)


@contextmanager
def living(life: Life, seen: Any) -> Iterator[tuple[Life, Watch]]:
    """The life and a watch over its output. ``seen`` holds the arguments of `Watch`."""
    listing, fetch = seen
    watch = Watch(listing, fetch, life.folder / "mirror")
    watch.start()
    try:
        yield life, watch
    finally:
        watch.finish()


def on_disk(folder: Path) -> Locations:
    """In and out on a local disk."""

    def put(name: str, data: bytes) -> None:
        path = folder / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".tmp").write_bytes(data)
        path.with_suffix(".tmp").rename(path)

    return Locations(
        put=put,
        url_in=f"file://{folder}/in/",
        url_out=f"file://{folder}/out/",
        url_done=f"file://{folder}/done/",
        url_rejects=f"file://{folder}/rejects/",
        name_of=lambda name: f"file://{folder}/in/{name}",
        storage={},
    )
