"""From the command to ready, and from a kill to the next row."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.kit import DIGEST, Kit, produce, ready, start, until
from benchmarks.results import Result
from stream_infer.ops.parts.process import free_port, stop


def measure(kit: Kit) -> Result:
    """Three starts with a local Ray, one kill, and one start on an existing cluster; the latter in the full run only."""
    kit.topic("start", 1, [])
    result = Result("start", "Start: command → ready", "s")
    local = [_ready(kit, f"start-{number}", {}) for number in range(1 if kit.quick else 3)]
    best = sorted(local)[len(local) // 2]
    limit = "Ray's own processes, two workers and the imports of all take 8 to 10 CPU-seconds, shared by 2 cores"
    result.add_at_most("command → ready, local Ray, median", best, 8, "s", limit)
    result.add_statement("SIGKILL → first new row", f"{_killed(kit):.1f} s")
    result.bars = {"stream-infer, local Ray": best}
    if kit.quick:
        return result
    try:
        existing = _existing_cluster(kit)
    except TimeoutError:
        result.add_statement("command → ready, existing cluster", "no figure", "the cluster could not be joined")
        return result
    result.add_at_most(
        "command → ready, existing cluster", existing, 5, "s", "workers import Ray Data and the readers anew"
    )
    result.bars["stream-infer, existing cluster"] = existing
    return result


def _file(kit: Kit, name: str, port: int) -> Path:
    return kit.pipeline(name, kit.kafka_source("start"), DIGEST, limits={"freshness": 0}, serve={"port": port})


def _ready(kit: Kit, name: str, env: dict[str, str]) -> float:
    port = free_port()
    file = _file(kit, name, port)
    with file.with_suffix(".log").open("wb") as log:
        process = start(file, stdout=log, stderr=log, env=env)
    try:
        return until(lambda: ready(port), 60, 0.05)
    finally:
        stop(process, 60)


def _killed(kit: Kit) -> float:
    port = free_port()
    file = _file(kit, "killed", port)
    with file.with_suffix(".log").open("wb") as log:
        process = start(file, stdout=log, stderr=log)
        until(lambda: ready(port), 120)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        killed = time.perf_counter()
        produce(kit.broker, "start", [b"after the kill"])
        again = start(file, stdout=log, stderr=log)
    try:
        until(lambda: any((file.parent / "out").rglob("*.parquet")), 120, 0.02)
        return time.perf_counter() - killed
    finally:
        stop(again, 60)


def _existing_cluster(kit: Kit) -> float:
    """The second start on the cluster counts: the first warms Ray Data's own helpers, which stay."""
    port = free_port()
    ray = str(Path(sys.executable).parent / "ray")
    temp = Path("/tmp") / f"stream-infer-bench-{os.getpid()}"  # Ray's sockets need a short path
    head = ["start", "--head", f"--port={port}", f"--temp-dir={temp}", "--include-dashboard=false", "--block"]
    process = subprocess.Popen(
        [ray, *head], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        env = {"RAY_ADDRESS": f"127.0.0.1:{port}"}
        time.sleep(10)
        _ready(kit, "existing-1", env)
        return _ready(kit, "existing-2", env)
    finally:
        stop(process, 30)
        shutil.rmtree(temp, ignore_errors=True)
