"""``python -m benchmarks.recovery``: SIGKILL the service many times: how soon does it commit again, and how much is repeated?

The ledger has 1,000,000 objects from before. Prints one JSON document:

- ``first_commit``: seconds from SIGKILL to the first split that the next start commits, an existing file included;
- ``first_new_file``: to the first committed file that was written after the kill;
- ``repeated``: records that went through the model more than once, by kill, beside the records in flight at the kills.

The next start begins at once, as under a process supervisor. With ``--cluster`` the starts join an existing Ray cluster,
as in Kubernetes; otherwise each starts its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import secrets
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.kit import Kit, produce, start, until
from benchmarks.rows.ledger import fill
from stream_infer.ledger import Ledger
from stream_infer.ops.parts.process import Server, free_port, stop

_SPLIT = 100  # records
_FEED = 3_000  # records before each start: more than it can do until it is killed
_TOPIC = "recovery"
_PATIENCE = 300.0


@dataclass
class Measurements:
    """The measurements, one value for each kill."""

    first_commit: list[float] = field(default_factory=list)
    first_new_file: list[float] = field(default_factory=list)
    in_flight: list[int] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--objects", type=int, default=1_000_000, help="in the ledger before the first start")
    parser.add_argument("--cluster", action="store_true", help="join an existing Ray cluster")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        kit = Kit(Path(folder), stack, quick=True)
        environment = {"STREAM_INFER_BENCH_CALLS": str(kit.folder / "calls")}
        if given.cluster:
            # in the environment of the cluster and of all that join it
            environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
            environment["RAY_ADDRESS"] = stack.enter_context(_cluster(kit.folder, environment))
        document = measure(kit, given.kills, given.objects, given.seed, environment)
    print(json.dumps({"existing_cluster": given.cluster, "cpus": os.cpu_count(), **document}))


def measure(kit: Kit, kills: int, objects: int, seed: int, environment: dict[str, str]) -> dict[str, object]:
    """Measure so many kills, each at a random moment up to two seconds after the first commit of its start."""
    kit.topic(_TOPIC, 4, [])
    file = kit.pipeline(
        "recovery",
        kit.kafka_source(_TOPIC),
        {"kind": "python", "python": "benchmarks.digests:Counted"},
        limits={"split_records": _SPLIT, "freshness": 0},
    )
    database = file.parent / "ledger.db"
    Ledger.open(f"sqlite:///{database}", {}).close()
    fill(database, objects)
    choose, measured = random.Random(seed), Measurements()
    with file.with_suffix(".log").open("wb") as log, contextlib.closing(_reading(database)) as ledger:

        def begin() -> subprocess.Popen[bytes]:
            process: subprocess.Popen[bytes] = start(file, stdout=log, stderr=log, env=environment)
            return process

        produce(kit.broker, _TOPIC, _texts(_FEED), 4)
        process = begin()
        _await_commit(ledger, 0.0)
        for _ in range(kills):
            time.sleep(choose.uniform(0.0, 2.0))
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            killed = time.time()
            measured.in_flight.append(_in_flight(ledger))
            process = begin()
            produce(kit.broker, _TOPIC, _texts(_FEED), 4)
            measured.first_commit.append(_await_commit(ledger, killed) - killed)
            measured.first_new_file.append(_await_file(ledger, file.parent / "out", killed) - killed)
            _report(measured)
        until(lambda: _waiting(ledger) == 0 and _rows(ledger) == _FEED * (kills + 1), _PATIENCE)
        stop(process, 60)
        worked = sum(int(line) for line in (kit.folder / "calls").read_text().split())
        return _document(measured, worked - _rows(ledger), objects, seed)


def _document(measured: Measurements, repeated: int, objects: int, seed: int) -> dict[str, object]:
    kills = len(measured.first_commit)
    return {
        "kills": kills,
        "seed": seed,
        "objects_in_ledger": objects,
        "first_commit_s": _quantiles(measured.first_commit),
        "first_new_file_s": _quantiles(measured.first_new_file),
        "repeated_records": repeated,
        "repeated_records_per_kill": round(repeated / kills, 1),
        "in_flight_records": sum(measured.in_flight),
        "in_flight_records_per_kill": round(sum(measured.in_flight) / kills, 1),
    }


def _quantiles(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive") if len(values) > 1 else values * 99
    return {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2), "least": round(min(values), 2)}


def _report(measured: Measurements) -> None:
    commit, file = measured.first_commit[-1], measured.first_new_file[-1]
    print(f"kill {len(measured.first_commit)}: {commit:.1f} s, {file:.1f} s", file=sys.stderr, flush=True)


def _texts(count: int) -> Iterator[bytes]:
    return (f"record {number}".encode() for number in range(count))


def _reading(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{database}?mode=ro", uri=True, isolation_level=None)


def _await_commit(ledger: sqlite3.Connection, since: float) -> float:
    """Time of the first commit after ``since``."""
    query = "select min(finished_at) from ledger_splits where finished_at > ?"
    return _first(lambda: ledger.execute(query, (since,)).fetchone()[0])


def _await_file(ledger: sqlite3.Connection, out: Path, since: float) -> float:
    """Time of the first commit of a file that was written after ``since``."""
    query = (
        "select file, finished_at from ledger_splits where finished_at > ? and file is not null order by finished_at"
    )

    def look() -> float | None:
        for name, at in ledger.execute(query, (since,)):
            if (out / name).stat().st_mtime > since:
                return float(at)
        return None

    return _first(look)


def _first(look: Callable[[], float | None]) -> float:
    values: list[float] = []

    def has_value() -> bool:
        value = look()
        if value is not None:
            values.append(value)
        return bool(values)

    until(has_value, _PATIENCE, 0.05)
    return values[0]


def _in_flight(ledger: sqlite3.Connection) -> int:
    """Records of splits that are planned and not final: those that a crash may repeat, and those that only wait."""
    return int(
        ledger.execute("select coalesce(sum(records), 0) from ledger_splits where finished_at is null").fetchone()[0]
    )


def _waiting(ledger: sqlite3.Connection) -> int:
    return int(ledger.execute("select count(*) from ledger_splits where finished_at is null").fetchone()[0])


def _rows(ledger: sqlite3.Connection) -> int:
    return int(ledger.execute('select coalesce(sum("rows"), 0) from ledger_totals').fetchone()[0])


@contextlib.contextmanager
def _cluster(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    port, ray = free_port(), str(Path(sys.executable).with_name("ray"))
    with tempfile.TemporaryDirectory(prefix="si-", dir="/tmp") as temp:  # Ray's sockets need a short path
        head = ["start", "--head", f"--port={port}", f"--temp-dir={temp}", "--include-dashboard=false", "--block"]
        log = folder / "ray.log"
        given = {**environment, "PYTHONUNBUFFERED": "1"}
        server = Server([ray, *head, "--num-cpus=4", "--disable-usage-stats"], log, port, 180, given)
        try:
            server.start()
            until(lambda: "Ray runtime started" in log.read_text(errors="replace"), _PATIENCE)
            yield f"127.0.0.1:{port}"
        finally:
            server.stop()


if __name__ == "__main__":
    main()
