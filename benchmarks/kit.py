"""The kit of every row: real servers, a pipeline file, the service as its users start it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import yaml
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from stream_infer.ops.parts import Broker, S3Server, start_kafka, start_s3
from stream_infer.ops.parts.process import stop

ROOT = Path(__file__).parents[1]
DIGEST = {"kind": "python", "python": "benchmarks.digests:Digest"}


@dataclass(frozen=True, slots=True)
class Run:
    """One ``run --until-idle``.

    Attributes:
        whole: seconds of the whole command.
        working: seconds from ready to the last commit.
        cpu / whole_cpu: CPU-seconds of all its processes from ready on, and from the start.
        peak_bytes: most memory that the processes had at once.
    """

    whole: float
    working: float
    cpu: float
    whole_cpu: float
    peak_bytes: int


@dataclass(slots=True)
class _Sample:
    """Most memory of a process and its children together, and the last CPU-seconds of each."""

    peak: int = 0
    cpu: dict[int, float] = field(default_factory=dict)


@dataclass
class Kit:
    """Servers for the rows: started at their first use, stopped with the stack."""

    folder: Path
    stack: contextlib.ExitStack
    quick: bool

    @cached_property
    def broker(self) -> Broker:
        return self.stack.enter_context(start_kafka(self.folder / "kafka"))

    @cached_property
    def s3(self) -> S3Server:
        return self.stack.enter_context(start_s3(self.folder / "s3"))

    def topic(self, name: str, partitions: int, values: Iterable[bytes]) -> None:
        """A new topic with the values, spread evenly over its partitions."""
        admin = AdminClient({"bootstrap.servers": self.broker.servers})
        admin.create_topics([NewTopic(name, partitions, 1)])[name].result(30)
        produce(self.broker, name, values, partitions)

    def kafka_source(self, topic: str) -> dict[str, Any]:
        return {"name": "stream", "kind": "kafka", "servers": self.broker.servers, "topics": [topic]}

    def pipeline(self, name: str, source: dict[str, Any], model: dict[str, Any], **more: Any) -> Path:
        """A pipeline file in a fresh folder; the sink is a local folder unless ``sink`` says otherwise."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        settings = {
            "name": name,
            "ledger": f"sqlite:///{folder}/ledger.db",
            "sources": [source],
            "model": model,
            "sink": {"url": str(folder / "out")},
            "serve": None,
            "telemetry": {"logs": "text"},
            **more,
        }
        (folder / "pipeline.yaml").write_text(yaml.safe_dump(settings))
        return folder / "pipeline.yaml"

    def run_to_end(self, file: Path, tree: Path = ROOT) -> Run:
        """The service over all that is there; raises CalledProcessError with its log when it fails.

        Args:
            tree: the checkout whose service runs.
        """
        started, ready, lines, before = time.perf_counter(), 0.0, [], 0.0
        process = start(file, "--until-idle", tree=tree, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        with _sampling(process.pid) as sample:
            for line in process.stderr:
                lines.append(line)
                if line.rstrip().endswith(": ready"):
                    ready, before = time.time(), sum(sample.cpu.values())
            code = process.wait()
        if code or not ready:
            raise subprocess.CalledProcessError(code, "stream-infer run", stderr="".join(lines[-5:]))
        with contextlib.closing(sqlite3.connect(file.parent / "ledger.db")) as ledger:
            (done,) = ledger.execute("select max(finished_at) from ledger_splits").fetchone()
        cpu = sum(sample.cpu.values())
        return Run(time.perf_counter() - started, done - ready, cpu - before, cpu, sample.peak)


def start(file: Path, *arguments: str, tree: Path = ROOT, **options: Any) -> subprocess.Popen[Any]:
    """``stream-infer run FILE`` of a checkout, in a process group of its own."""
    path = {"PYTHONPATH": os.pathsep.join(filter(None, [str(tree), os.environ.get("PYTHONPATH")]))}
    environment = {**os.environ, **path, **options.pop("env", {})}
    python = sys.executable if tree == ROOT else str(tree / ".venv/bin/python")
    program = str(Path(python).with_name("stream-infer"))
    return subprocess.Popen(
        [python, program, "run", str(file), *arguments], cwd=tree, env=environment, start_new_session=True, **options
    )


@contextlib.contextmanager
def service(file: Path, tree: Path = ROOT) -> Iterator[subprocess.Popen[bytes]]:
    """Run the service while the block runs; its log is beside the file."""
    with file.with_suffix(".log").open("ab") as log:
        process = start(file, tree=tree, stdout=log, stderr=log)
    try:
        yield process
    finally:
        stop(process, 60)


def produce(broker: Broker, topic: str, values: Iterable[bytes], partitions: int = 1) -> None:
    """Send the values to the partitions by turns."""
    options = {"bootstrap.servers": broker.servers, "queue.buffering.max.messages": 500_000, "linger.ms": 20}
    producer = Producer({**options, "batch.size": 500_000})
    for number, value in enumerate(values):
        while True:
            try:
                producer.produce(topic, value, partition=number % partitions)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()


def status(port: int) -> dict[str, Any]:
    """The service's own status; empty while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/status", timeout=5) as answer:
            document: dict[str, Any] = json.load(answer)
            return document
    except OSError:
        return {}


def ready(port: int) -> bool:
    """True if the service is ready; the cheapest question to it."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def committed(port: int) -> int:
    return int(status(port).get("records", {}).get("committed", 0))


def until(condition: Callable[[], bool], seconds: float, pause: float = 0.1) -> float:
    """Seconds until the condition is true; raises TimeoutError."""
    started = time.perf_counter()
    while not condition():
        if time.perf_counter() - started > seconds:
            raise TimeoutError
        time.sleep(pause)
    return time.perf_counter() - started


@contextlib.contextmanager
def every(seconds: float, call: Callable[[], None]) -> Iterator[None]:
    """Call a function at this interval while the block runs, in another thread."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(seconds):
            call()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextlib.contextmanager
def _sampling(pid: int) -> Iterator[_Sample]:
    """Sample a process and its children four times a second."""
    sample = _Sample()

    def take() -> None:
        with contextlib.suppress(psutil.Error):
            tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            sample.peak = max(sample.peak, _memory([process.memory_info() for process in tree]))
            sample.cpu |= {process.pid: sum(process.cpu_times()[:2]) for process in tree}

    with every(0.25, take):
        yield sample


def _memory(processes: Sequence[Any]) -> int:
    """Bytes of memory of the processes: each one's own, and once the largest shared part.

    The kernel's proportional set size would be exact, but it costs a tenth of a core: the kernel walks all pages, and a
    process that needs a new one waits meanwhile.
    """
    return sum(one.rss - one.shared for one in processes) + max(one.shared for one in processes)
