"""The faults, the load, the measurements and the backup drill of the soak."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from stream_infer.ops.parts import S3Server
from tests.chaos.http_proxy import FaultProxy, refused, reset, truncated
from tests.chaos.kafka_kit import Cluster
from tests.chaos.service_kit import PATIENCE, Service, World

HOLD = (1.0, 8.0)  # seconds a fault lasts
Fault = Callable[[], AbstractContextManager[object]]


class Faults:
    """Every fault of the soak by name, each a context manager during which it lasts."""

    def __init__(
        self, service: Service, cluster: Cluster, proxy: FaultProxy, store: S3Server, ledger: Path, dice: random.Random
    ) -> None:
        self._service, self._cluster, self._proxy, self._store, self._ledger = service, cluster, proxy, store, ledger
        self._dice = dice

    def all(self) -> dict[str, Fault]:
        proxy, cut = self._proxy, self._cluster.proxy
        faults: dict[str, Fault] = {
            "broker killed": lambda: self._restarted(self._cluster.process),
            "broker cut off": lambda: _between(cut.cut, cut.mend),
            "broker slow": lambda: _between(lambda: cut.toxic("latency", latency=500, jitter=400), cut.clear),
            "broker resets": lambda: _between(lambda: cut.toxic("limit_data", bytes=10_000), cut.clear),
            "store refuses": lambda: proxy.fault("GET|PUT", "", instead=refused(503, "SlowDown")),
            "store truncates": lambda: proxy.fault("GET", "/in/", spoil=truncated),
            "store loses replies": lambda: proxy.fault("PUT", "/out/", spoil=reset, left=5),
            "ledger locked": self._locked,
            "worker killed": lambda: self._signalled("ray::MapWorker", signal.SIGKILL),
            "worker stopped": lambda: self._signalled("ray::MapWorker", signal.SIGSTOP),
            "attempt tracker killed": lambda: self._signalled("ray::AttemptTracker", signal.SIGKILL),
            "service stopped": self._stopped,
        }
        if self._store.process is not None:
            server = self._store.process
            faults["store killed"] = lambda: self._restarted(server)
        return faults

    @contextmanager
    def service_killed(self) -> Iterator[None]:
        self._service.kill()
        yield
        self._service.start()

    @contextmanager
    def _restarted(self, process: Any) -> Iterator[None]:
        process.kill()
        yield
        process.start()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold SQLite's write lock from another process."""
        with contextlib.closing(sqlite3.connect(self._ledger, timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    @contextmanager
    def _signalled(self, name: str, number: signal.Signals) -> Iterator[None]:
        victims = [process for process in workers(self._service) if process.cmdline()[0].startswith(name)]
        victim = self._dice.choice(victims) if victims else None
        if victim is not None:
            victim.send_signal(number)
        yield
        if victim is not None and number == signal.SIGSTOP:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.resume()

    @contextmanager
    def _stopped(self) -> Iterator[None]:
        self._service.process.send_signal(signal.SIGSTOP)
        yield
        self._service.process.send_signal(signal.SIGCONT)


@contextmanager
def _between(begin: Callable[[], object], end: Callable[[], object]) -> Iterator[None]:
    begin()
    try:
        yield
    finally:
        end()


def workers(service: Service) -> list[psutil.Process]:
    """Processes of Ray that run our actors: of the service's own Ray, or of the cluster of ``RAY_ADDRESS``.

    The processes of a cluster descend from its raylet, whose starter's process id is in ``STREAM_INFER_TEST_RAY``.
    """
    root = int(service.environment.get("STREAM_INFER_TEST_RAY", 0)) or service.process.pid
    processes = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(root).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                if (process.cmdline() or [""])[0].startswith(("ray::MapWorker", "ray::AttemptTracker")):
                    processes.append(process)
    return processes


@dataclass(eq=False)
class Load(threading.Thread):
    """Messages and objects at a steady rate until `stop`; a store that is away gets the same object again."""

    world: World
    topic: str
    per_second: int
    sent: int = 0
    halt: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(name="load", daemon=True)

    def run(self) -> None:
        assert self.world.producer is not None
        objects: list[str] = []
        while not self.halt.wait(0.5):
            for _ in range(self.per_second // 2):
                self.sent += 1
                value = f"soak message {self.sent}".encode()
                self.world.producer.send(self.topic, value, partition=self.sent % 2)
            objects += self.world.objects(1)

    def stop(self) -> None:
        self.halt.set()
        self.join()
        assert self.world.producer is not None
        self.world.producer.flush(120)


@dataclass(eq=False)
class Meter(threading.Thread):
    """Memory and file descriptors of the driver and its workers, every few seconds, by life of the driver."""

    service: Service
    every: float = 5.0
    samples: dict[int, list[tuple[float, float, float, float, float]]] = field(default_factory=dict)
    halt: threading.Event = field(default_factory=threading.Event)
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        super().__init__(name="meter", daemon=True)

    def run(self) -> None:
        while not self.halt.wait(self.every):
            with contextlib.suppress(psutil.Error, AssertionError):
                driver = psutil.Process(self.service.process.pid)
                ours = workers(self.service)
                if not ours:
                    continue
                sizes = [process.memory_info().rss / 2**20 for process in ours]
                handles = [process.num_fds() for process in ours]
                row = (time.monotonic(), driver.memory_info().rss / 2**20, driver.num_fds(), sum(sizes), sum(handles))
                self.samples.setdefault(driver.pid, []).append(row)

    def slopes(self, warm: float) -> dict[str, Any]:
        """Growth per hour in the longest life without its first ``warm`` seconds: a line fitted through the samples."""
        life = max(self.samples.values(), key=len, default=[])
        rows = np.array([row for row in life if row[0] - life[0][0] > warm])
        if len(rows) < 10:
            return {"minutes": 0}
        hours = (rows[:, 0] - rows[0, 0]) / 3600
        names = ("driver_rss_mib", "driver_fds", "workers_rss_mib", "workers_fds")
        summary: dict[str, Any] = {"minutes": round(hours[-1] * 60, 1)}
        for column, name in enumerate(names, 1):
            slope = float(np.polyfit(hours, rows[:, column], 1)[0])
            first, last = np.median(rows[:10, column]), np.median(rows[-10:, column])
            summary[name] = {
                "per_hour": round(slope, 1),
                "first": round(float(first), 1),
                "last": round(float(last), 1),
            }
        return summary


@dataclass(eq=False)
class Drill:
    """A backup of the running ledger, and an older copy put back in its place."""

    service: Service
    ledger: Path
    copy: Path

    def back_up(self) -> None:
        """Back the ledger up with SQLite's own backup, while the service writes."""
        with (
            contextlib.closing(sqlite3.connect(self.ledger)) as live,
            contextlib.closing(sqlite3.connect(self.copy)) as copy,
        ):
            live.backup(copy)
            assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    def restore(self) -> dict[str, Any]:
        """Put the older copy back, then the newest one; return whether the older one was refused."""
        assert self.service.stop() == 0, self.service.tail()
        newest = self.copy.with_name("newest.db")
        with (
            contextlib.closing(sqlite3.connect(self.ledger)) as live,
            contextlib.closing(sqlite3.connect(newest)) as copy,
        ):
            live.backup(copy)
        self._put(self.copy)
        self.service.start(ready=False)
        status = self.service.process.wait(PATIENCE)
        refused = "the ledger is older than its output" in self.service.tail()
        self._put(newest)
        self.service.start()
        return {"older_copy_exit_status": status, "older_copy_refused": refused}

    def _put(self, copy: Path) -> None:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.ledger}{suffix}")
        self.ledger.write_bytes(copy.read_bytes())
