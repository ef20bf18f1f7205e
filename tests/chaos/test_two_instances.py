"""Two instances at one ledger: the newer one works, the older one stops, and no record appears twice at any time."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil
import pytest

from stream_infer.driver.standby import LEASE_SECONDS
from tests.chaos.crash_kit import Life, Starter, whole
from tests.chaos.service_kit import MODEL, Service, files_source, on_disk
from tests.chaos.watch import Watch, of_folder

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3600)]
RACES = 10  # on each of the two databases
DEADLINE = 180.0
SENTENCE = "now; this instance must stop and may start anew to take it over"


def test_the_newer_instance_takes_over_and_the_older_one_stops(life: tuple[Life, Watch, str], ray_cluster: str) -> None:
    """Each instance takes the ledger from the one before, while input keeps coming."""
    it, watch, _ = life
    seed = int(os.environ.get("STREAM_INFER_CHAOS_SEED", time.time_ns() % 10**6))
    it.actors = 1  # each has one, and both fit the cluster
    choose, file = random.Random(seed), str(it.file())
    starters = [Starter(it.folder, ray_cluster, f"instance-{name}.log") for name in "ab"]
    stopped = []
    with _fed(it):
        older, newer = starters
        older.start(["run", file])
        _new_file(watch)
        for _ in range(RACES):
            time.sleep(choose.uniform(0, 1.5))  # the moment of the race, not a wait for anything
            newer.start(["run", file])
            log_bytes_before = older.log.stat().st_size
            assert older.wait() == 1, older.log.read_text()[-3000:]
            stopped.append(_unwrapped(older.log.read_bytes()[log_bytes_before:].decode()))
            assert watch.troubles == []
            _new_file(watch)
            older, newer = newer, older
    os.kill(older.pid, signal.SIGTERM)
    assert older.wait() == 0, older.log.read_text()[-3000:]
    for text in stopped:
        assert SENTENCE in text
        assert "Traceback" not in text
        assert "everything is committed" not in text
    print("\n" + json.dumps({"races": len(stopped), "seed": seed, "records": len(it.expected)}))
    for starter in starters:
        starter.close()
    whole(it, watch)


@pytest.fixture(params=["sqlite", "postgresql"])
def pair(
    request: pytest.FixtureRequest, tmp_path: Path, ledger_at: Callable[[str], str]
) -> Iterator[tuple[Callable[..., Service], Watch, Callable[[int], None], dict[str, Any], str]]:
    """A factory of instances over one folder, the watch, a feed, the expected records, and the ledger."""
    ledger, put = ledger_at(request.param), on_disk(tmp_path / "in")
    settings = {
        "name": "two",
        "ledger": ledger,
        "sources": [files_source("inbox", f"file://{tmp_path}/in/")],
        "model": {**MODEL, "replicas": {"max": 1}},
        "sink": {"url": f"file://{tmp_path}/out/"},
        "limits": {"split_records": 5},
    }
    made: list[Service] = []
    expected: dict[str, str] = {}

    def make(environment: dict[str, str] | None = None) -> Service:
        made.append(Service(tmp_path / f"instance-{len(made)}", settings, environment))
        return made[-1]

    def feed(count: int) -> None:
        for _ in range(count):
            value = f"object {len(expected)}".encode()
            expected[put(f"{len(expected)}.txt", value) + "#0"] = sha256(value).hexdigest()

    watch = Watch(*of_folder(tmp_path / "out"), tmp_path / "mirror")
    watch.start()
    try:
        yield make, watch, feed, expected, ledger
    finally:
        for service in made:
            service.end()
        watch.finish()


def test_a_standby_waits_and_takes_over(pair: Any, ray_cluster: str) -> None:
    make, watch, feed, expected, _ = pair
    owner, standby, last = (make({"RAY_ADDRESS": ray_cluster}) for _ in range(3))
    owner.start()
    standby.start("--standby", ready=False)
    standby.until(lambda: standby.state() == (503, "standby"), "standing by")
    feed(100)
    _all_there(watch, expected)
    began = time.monotonic()
    while time.monotonic() < began + LEASE_SECONDS + 2:  # quiet or not, a living owner keeps the ledger
        assert standby.state() == (503, "standby")
        assert owner.alive
        time.sleep(0.5)
    owner.kill()
    killed = time.monotonic()
    feed(50)
    _all_there(watch, expected)
    after_kill = time.monotonic() - killed
    assert "took over the ledger" in standby.tail()

    last.start("--standby", ready=False)
    last.until(lambda: last.state() == (503, "standby"), "standing by")
    released = time.monotonic()
    assert standby.stop() == 0
    ended = time.monotonic()
    feed(50)
    _all_there(watch, expected)
    after_stop = time.monotonic() - ended
    assert "nobody owned it" in last.tail()
    seconds = {"kill_to_rows": round(after_kill, 1), "end_to_rows": round(after_stop, 1)}
    print("\n" + json.dumps({**seconds, "drain": round(ended - released, 1), "lease": LEASE_SECONDS}))
    assert last.stop() == 0
    _clean(last, watch, expected)


def test_an_instance_that_was_stopped_past_everything_commits_nothing(pair: Any) -> None:
    """A service is stopped with its Ray and workers during its work, another one does the work, and the first continues."""
    make, watch, feed, expected, ledger = pair
    stopped, other = make(), make()
    stopped.start()
    feed(400)
    _new_file(watch)
    tree = _stopped_between_transactions(stopped, ledger)
    other.start("--standby")  # ready: the lease of the first is over
    feed(50)
    _all_there(watch, expected)
    other.until(lambda: other.status()["records"]["in_flight"] == 0, "committed")
    before = other.status()["records"]
    for process in reversed(tree):
        _send(process, signal.SIGCONT)
    status = stopped.process.wait(DEADLINE)
    print("\n" + json.dumps({"status": status, "records": len(expected)}))
    assert status == 1, stopped.tail()
    assert SENTENCE in _unwrapped(stopped.tail())
    assert "Traceback" not in stopped.tail()
    assert other.status()["records"] == before
    assert other.stop() == 0
    _clean(other, watch, expected)


def _stopped_between_transactions(service: Service, ledger: str) -> list[psutil.Process]:
    """Stop the service and all its processes (SIGSTOP) while it does not hold SQLite's lock.

    A stopped process would keep the lock, and the other instance would wait until it continues.
    """
    first = psutil.Process(service.process.pid)

    def stopped() -> bool:
        tree[:] = [first, *first.children(recursive=True)]
        for process in tree:
            _send(process, signal.SIGSTOP)
        if not ledger.startswith("sqlite"):
            return True
        try:
            with closing(sqlite3.connect(ledger.removeprefix("sqlite:///"), timeout=0.2)) as database:
                database.execute("begin immediate")
            return True
        except sqlite3.OperationalError:
            for process in reversed(tree):
                _send(process, signal.SIGCONT)
            return False

    tree: list[psutil.Process] = []
    _until(stopped, "stopped between two transactions")
    return tree


def _unwrapped(text: str) -> str:
    """The text in one line: the console wraps sentences at the width of the terminal."""
    return " ".join(text.split())


def _send(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _clean(service: Service, watch: Watch, expected: dict[str, str]) -> None:
    watch.look()
    assert watch.verdict(expected) == {"lost": [], "wrong": [], "troubles": []}
    audit = service.ask("audit")
    assert audit == {**audit, "committed": len(expected), "lost": 0, "duplicated": 0, "in_flight": 0, "rejected": 0}


def _all_there(watch: Watch, expected: dict[str, str]) -> None:
    def whole_now() -> bool:
        watch.look()
        verdict = watch.verdict(expected)
        assert verdict["troubles"] == []
        return not verdict["lost"]

    _until(whole_now, "every record there")


def _new_file(watch: Watch) -> None:
    seen = len(watch.seen_at)
    _until(lambda: len(watch.seen_at) > seen, "a new file")


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"not {what} within {DEADLINE} s"
        time.sleep(0.1)


@contextmanager
def _fed(it: Life) -> Iterator[None]:
    """Send input until the block ends."""
    ended = threading.Event()

    def feed() -> None:
        while not ended.wait(0.3):
            it.feed(messages=20, objects=1)

    feeding = threading.Thread(target=feed, name="feed", daemon=True)
    feeding.start()
    try:
        yield
    finally:
        ended.set()
        feeding.join()
