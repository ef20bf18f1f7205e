"""What every row needs: real parts, a pipeline file, the service as its users start it."""

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
class Ran:
    """One ``run --until-idle``: seconds of the whole command, and from ready to the last commit; the CPU-seconds of all its
    processes from ready on, and the most memory that they had at once."""

    whole: float
    working: float
    cpu: float
    peak_bytes: int


@dataclass(slots=True)
class _Sample:
    """Of a process and its children: the most memory that they held together, and the CPU-seconds of each when last seen."""

    peak: int = 0
    cpu: dict[int, float] = field(default_factory=dict)


@dataclass
class Kit:
    """Parts are started when first asked for and stopped with the stack."""

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
        """A new topic that holds the values, spread evenly."""
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

    def run_to_end(self, file: Path, tree: Path = ROOT) -> Ran:
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
        spent = sum(sample.cpu.values()) - before
        return Ran(time.perf_counter() - started, done - ready, spent, sample.peak)


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
    """The service while the block runs; its log lies beside the file."""
    with file.with_suffix(".log").open("ab") as log:
        process = start(file, tree=tree, stdout=log, stderr=log)
    try:
        yield process
    finally:
        stop(process, 60)


def produce(broker: Broker, topic: str, values: Iterable[bytes], partitions: int = 1) -> None:
    """Send the values, partition by turns."""
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
            found: dict[str, Any] = json.load(answer)
            return found
    except OSError:
        return {}


def ready(port: int) -> bool:
    """Whether the service says that it is ready; costs it next to nothing to be asked."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def committed(port: int) -> int:
    return int(status(port).get("records", {}).get("committed", 0))


def until(condition: Callable[[], bool], seconds: float, pause: float = 0.1) -> float:
    """Seconds until the condition held; raises TimeoutError."""
    started = time.perf_counter()
    while not condition():
        if time.perf_counter() - started > seconds:
            raise TimeoutError
        time.sleep(pause)
    return time.perf_counter() - started


@contextlib.contextmanager
def every(seconds: float, look: Callable[[], None]) -> Iterator[None]:
    """Look so often while the block runs, in a thread beside it."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(seconds):
            look()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextlib.contextmanager
def _sampling(pid: int) -> Iterator[_Sample]:
    """A process and its children, looked at four times a second."""
    sample = _Sample()

    def look() -> None:
        with contextlib.suppress(psutil.Error):
            tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            sample.peak = max(sample.peak, _together([process.memory_info() for process in tree]))
            sample.cpu |= {process.pid: sum(process.cpu_times()[:2]) for process in tree}

    with every(0.25, look):
        yield sample


def _together(each: Sequence[Any]) -> int:
    """Bytes that the processes hold: what is each one's own, and once the largest part that one of them shares.

    The kernel's proportional set size would be exact, and takes a tenth of a core to be asked: it walks all pages, and
    who needs a new one waits meanwhile.
    """
    return sum(one.rss - one.shared for one in each) + max(one.shared for one in each)
