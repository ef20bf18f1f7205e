"""A quiet service: latency of one event, cost of waiting, and many small splits in one life."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import psutil
from confluent_kafka import Producer

from benchmarks.kit import DIGEST, Kit, committed, produce, service, status, until
from benchmarks.results import Result
from stream_infer.ops.parts import Broker
from stream_infer.ops.parts.process import free_port


def measure(kit: Kit) -> Result:
    """One service: 200 events one at a time, half a minute of nothing, then splits of one record."""
    events, rest, splits = 20, 10, 200
    if not kit.quick:
        events, rest, splits = 200, 30, int(os.environ.get("STREAM_INFER_BENCH_SPLITS", "100000"))
    kit.topic("one", 1, [])
    port = free_port()
    limits = {"freshness": 0, "split_records": 1, "execution_splits": 10**9}
    serve = {"port": port}
    file = kit.pipeline("quiet", kit.kafka_source("one"), DIGEST, limits=limits, serve=serve)
    result = Result("quiet", "One event at a time: event → visible Parquet", "ms")
    with service(file) as process:
        until(lambda: bool(status(port).get("ready")), 180)
        driver = psutil.Process(process.pid)
        produce(kit.broker, "one", [b"first"] * 5)
        until(lambda: committed(port) >= 5, 60)
        latencies = [visible_after(kit.broker, "one", file.parent / "out") for _ in range(events)]
        idle = _idle(driver, rest)
        woken = visible_after(kit.broker, "one", file.parent / "out")
        memory, rates = _many(kit, port, driver, splits)
    p50, p99 = (float(np.percentile(latencies, share)) for share in (50, 99))
    result.bars = {"stream-infer p50": 1000 * p50, "stream-infer p99": 1000 * p99}
    result.add_at_most(
        "event → visible file, p50", p50, 0.10, "s", "Ray Data looks for finished tasks in steps of 10 to 100 ms"
    )
    result.add_at_most("event → visible file, p99", p99, 0.40, "s")
    result.add_at_most("driver while idle", 100 * idle, 3, "% of a core")
    result.add_statement(f"first event after {rest} s of nothing → visible file", f"{1000 * woken:.0f} ms")
    half = len(memory) // 2
    slope = float(np.polyfit([at / 1000 for at, _ in memory[half:]], [size / 1024 for _, size in memory[half:]], 1)[0])
    limit = "no Python object grows in number; malloc's arenas do, in steps of a megabyte; the cause is unknown"
    result.add_at_most(
        f"driver memory over {splits:,} splits, slope of the second half", slope, 20, "KiB per 1,000 splits", limit
    )
    shown = ", ".join(f"{rate:.0f}" for rate in rates)
    result.add_ratio("splits/s, last quarter ÷ first", rates[-1], rates[0], 0.95)
    result.notes += [
        f"splits/s by quarter: {shown}; memory at the end {memory[-1][1] >> 20} MiB, at the start {memory[0][1] >> 20} MiB",
        "latency: producer.flush() to the file in a listing of the folder, looked at every 2 ms",
    ]
    return result


def visible_after(broker: Broker, topic: str, out: Path) -> float:
    """Seconds from a message's acknowledgement by the broker to a new file in the output folder."""
    files_before = set(out.rglob("*.parquet"))
    producer = Producer({"bootstrap.servers": broker.servers, "linger.ms": 0})
    producer.produce(topic, b"news")
    producer.flush()
    seconds = until(lambda: bool(set(out.rglob("*.parquet")) - files_before), 30, 0.002)
    time.sleep(0.1)  # the next event must find a quiet service
    return seconds


def _idle(driver: psutil.Process, seconds: int) -> float:
    """CPU seconds per second of the driver."""
    time.sleep(3)
    before = sum(driver.cpu_times()[:2])
    time.sleep(seconds)
    return float((sum(driver.cpu_times()[:2]) - before) / seconds)


def _many(kit: Kit, port: int, driver: psutil.Process, splits: int) -> tuple[list[tuple[int, int]], list[float]]:
    """(splits done, memory) at twenty moments, and splits per second by quarter."""
    already, memory, rates = committed(port), [(0, driver.memory_info().rss)], []
    produce(kit.broker, "one", (b"split %d" % number for number in range(splits)))
    started = time.perf_counter()
    for part in range(1, 21):
        wanted = already + splits * part // 20
        until(lambda wanted=wanted: committed(port) >= wanted, 3600, 1.0)  # type: ignore[misc]
        memory.append((splits * part // 20, driver.memory_info().rss))
        if part % 5 == 0:
            rates.append(splits / 4 / (time.perf_counter() - started))
            started = time.perf_counter()
    return memory, rates
