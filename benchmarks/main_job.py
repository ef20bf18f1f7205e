"""The main job's figures: throughput beside a plain loop, latency, idle cost, memory. ``python -m benchmarks.main_job``."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from ops.parts import Broker, S3Server, start_kafka, start_s3
from ops.parts.process import free_port, stop

KEYS = [
    "sp ace",
    "ünï/çødé",
    "a+b",
    "50%",
    "h#sh",
    "q?x",
    "%41",
    "/".join("deep") + "/x" * 20,
    "/".join(["n" * 220] * 4),
]


def main(messages: int, objects: int, splits: int) -> None:
    """Run each measurement and print one line of JSON for it."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        broker = stack.enter_context(start_kafka(folder / "kafka"))
        s3 = stack.enter_context(start_s3(folder / "s3"))
        for measure in (
            lambda: throughput(folder, broker, s3, messages, objects),
            lambda: latency_idle_memory(folder, broker, splits),
        ):
            print(json.dumps(measure()), flush=True)


def throughput(folder: Path, broker: Broker, s3: S3Server, messages: int, objects: int) -> dict[str, Any]:
    """Kafka and S3 to S3, from the start of the command to its end, and from ready to the last commit."""
    _topic(broker, "many", 4)
    _produce(broker, "many", messages)
    client = s3.client()
    client.create_bucket(Bucket="many")

    def put(number: int) -> None:
        client.put_object(
            Bucket="many", Key=f"in/{KEYS[number % len(KEYS)]}/{number}.txt", Body=f"object {number}".encode()
        )

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(put, range(objects)))
    storage = s3.storage()
    file = _pipeline(
        folder / "many",
        broker,
        "many",
        {"url": "s3://many/out/", "storage": storage},
        [{"name": "inbox", "kind": "files", "url": "s3://many/in/", "storage": storage, "format": "text"}],
    )
    started = time.perf_counter()
    log = subprocess.run(_command("run", "--until-idle", str(file)), capture_output=True, text=True, check=True).stderr
    seconds = time.perf_counter() - started
    audit = json.loads(subprocess.run(_command("audit", str(file), "--json"), capture_output=True, text=True).stdout)
    loop = _plain_loop(broker, "many", folder / "plain.parquet")
    working = _between(log)
    return {
        "what": "throughput",
        "records": messages + objects,
        "seconds_whole_command": round(seconds, 1),
        "seconds_from_ready": round(working, 1),
        "records_per_second_from_ready": round((messages + objects) / working),
        "plain_loop_kafka_only_records_per_second": round(loop),
        "audit": audit,
    }


def latency_idle_memory(folder: Path, broker: Broker, splits: int) -> dict[str, Any]:
    """One message at a time to its visible file on disk; then an idle minute; then many small splits."""
    _topic(broker, "one", 1)
    port, out = free_port(), folder / "one" / "out"
    file = _pipeline(folder / "one", broker, "one", {"url": str(out)}, [], {"freshness": 0, "split_records": 1}, port)
    with _service(file, folder / "one.log") as process:
        _until(lambda: _ready(port), 180)
        driver = psutil.Process(process.pid)
        _produce(broker, "one", 5)
        _until(lambda: _committed(port) >= 5, 60)
        waits = [_seen(broker, out) for _ in range(100)]
        time.sleep(3)
        before = sum(driver.cpu_times()[:2])
        time.sleep(30)
        idle = (sum(driver.cpu_times()[:2]) - before) / 30
        memory = {0: driver.memory_info().rss}
        already = _committed(port)
        started = time.perf_counter()
        _produce(broker, "one", splits)
        for part in (0.25, 0.5, 0.75, 1.0):
            _until(lambda part=part: _committed(port) >= already + int(splits * part), 1800)  # type: ignore[misc]
            memory[int(splits * part)] = driver.memory_info().rss
        seconds = time.perf_counter() - started
    return {
        "what": "latency, idle, memory",
        "event_to_visible_file_ms": {"p50": _ms(waits, 50), "p99": _ms(waits, 99), "max": _ms(waits, 100)},
        "idle_driver_cpu_percent": round(100 * idle, 2),
        "driver_rss_mib_by_splits": {str(count): size >> 20 for count, size in memory.items()},
        "splits_per_second": round(splits / seconds, 1),
    }


def _seen(broker: Broker, out: Path) -> float:
    known = set(out.rglob("*.parquet"))
    producer = Producer({"bootstrap.servers": broker.servers, "linger.ms": 0})
    producer.produce("one", b"news")
    producer.flush()
    started = time.perf_counter()
    while not set(out.rglob("*.parquet")) - known:
        time.sleep(0.002)
    seconds = time.perf_counter() - started
    time.sleep(0.2)
    return seconds


def _plain_loop(broker: Broker, topic: str, file: Path) -> float:
    """Records per second of one process that reads, hashes and writes one file; nothing is kept safe."""
    consumer = Consumer({"bootstrap.servers": broker.servers, "group.id": "plain", "enable.partition.eof": True})
    started = time.perf_counter()
    consumer.assign([TopicPartition(topic, number, 0) for number in range(4)])
    ends, names, digests = 0, [], []
    while ends < 4:
        for message in consumer.consume(1000, 1.0):
            if message.error():
                ends += 1
                continue
            names.append(f"{topic}/{message.partition()}/{message.offset()}")
            digests.append(hashlib.sha256(message.value()).hexdigest())
    pq.write_table(pa.table({"record_id": names, "digest": digests}), file)
    consumer.close()
    return len(names) / (time.perf_counter() - started)


def _pipeline(
    folder: Path,
    broker: Broker,
    topic: str,
    sink: dict[str, Any],
    sources: list[dict[str, Any]],
    limits: dict[str, Any] | None = None,
    port: int | None = None,
) -> Path:
    folder.mkdir()
    settings = {
        "name": topic,
        "ledger": f"sqlite:///{folder}/ledger.db",
        "sources": [{"name": "stream", "kind": "kafka", "servers": broker.servers, "topics": [topic]}, *sources],
        "model": {"kind": "python", "python": "benchmarks.digests:Digest"},
        "sink": sink,
        "limits": limits or {},
        "serve": {"port": port} if port else None,
    }
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(settings))
    return folder / "pipeline.yaml"


@contextlib.contextmanager
def _service(file: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(_command("run", str(file)), stdout=output, stderr=output, start_new_session=True)
    try:
        yield process
    finally:
        stop(process, 60)


def _topic(broker: Broker, name: str, partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": broker.servers})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(30)


def _produce(broker: Broker, topic: str, count: int) -> None:
    producer = Producer({"bootstrap.servers": broker.servers, "queue.buffering.max.messages": 1_000_000})
    for number in range(count):
        producer.produce(topic, f"message {number} — a ticket of ordinary length, with some words in it".encode())
    producer.flush()


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ops.cli", *arguments]


def _status(port: int) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/status", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except OSError:
        return {}


def _ready(port: int) -> bool:
    return bool(_status(port).get("ready"))


def _committed(port: int) -> int:
    return int(_status(port).get("records", {}).get("committed", 0))


def _until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.2)


def _between(log: str) -> float:
    """Seconds from ``ready`` to the end, by the log's own clock."""
    stamps = [line[:23] for line in log.splitlines() if line.endswith((": ready", ": everything is committed"))]
    first, last = (
        time.mktime(time.strptime(s[:19], "%Y-%m-%d %H:%M:%S")) + float(f"0.{s[20:]}") for s in (stamps[0], stamps[-1])
    )
    return last - first


def _ms(seconds: list[float], percentile: float) -> float:
    return round(1000 * float(np.percentile(seconds, percentile)), 1)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).parents[1]))
    main(*(map(int, sys.argv[1:4]) if len(sys.argv) > 3 else (50_000, 3000, 20_000)))
