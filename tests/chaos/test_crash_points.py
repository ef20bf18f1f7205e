"""The service is killed at every named point, on both databases and both kinds of store, while an oracle looks on."""

from __future__ import annotations

import json
import os
import random
import time
from itertools import pairwise

import pytest

from tests.chaos.crash_kit import KILLED, Life, whole
from tests.chaos.crash_points import DRIVER, WORKER, WORKER_ON, Case
from tests.chaos.watch import Watch

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(7200)]
STARTS = 4  # most starts that one point may cost
SECOND_KILLS = 12  # sampled in each run


def test_a_kill_of_the_driver_at_every_point(life: tuple[Life, Watch, str], ray_cluster: str) -> None:
    """``STREAM_INFER_CHAOS_ONLY=dispatch,ledger.plan`` takes the points whose names start so."""
    it, watch, where = life
    cases = [case for case in DRIVER if case.where in ("", where)]
    if only := os.environ.get("STREAM_INFER_CHAOS_ONLY"):
        cases = [case for case in cases if case.point.startswith(tuple(only.split(",")))]
    with it.joined(ray_cluster):
        passed = [_kill_at(it, watch, case) for case in cases]
        whole(it, watch, attempts=2)  # it isolates all records that the kills kept from their end
    _report(it, watch, passed)


def _kill_at(it: Life, watch: Watch, case: Case) -> str:
    """Start with new input until the point kills the driver. The start of the next case is the recovery of this one."""
    (it.folder / "fired" / case.point).unlink(missing_ok=True)
    started = time.monotonic()
    for start in range(STARTS):
        if case.replay:
            it.ask("rejects", "replay")
        it.feed(bad=case.bad and not start)
        status = it.run(case.point, **case.limits)
        assert status in (0, KILLED), f"{case.point}: exit {status}: {it.tail()}"
        assert watch.troubles == [], case.point
        if it.fired(case.point):
            print(f"\n{case.point}: start {start + 1}, {time.monotonic() - started:.0f} s", end="", flush=True)
            return case.point
    raise AssertionError(f"{case.point} was never passed: {it.tail()}")


def test_kills_of_workers_at_every_point(life: tuple[Life, Watch, str]) -> None:
    """The service starts its own Ray, since the workers of a running cluster have no armed points."""
    it, watch, where = life
    # first the store's: a folder is made once, and by the driver if the others make it divide a split before
    passed = _kill_workers(it, WORKER_ON[where]) + _kill_workers(it, WORKER)
    whole(it, watch)
    _report(it, watch, passed)


def _kill_workers(it: Life, points: list[str]) -> list[str]:
    """Start with every point armed that has not killed yet. A split may meet many of them without being rejected."""
    waiting = list(points)
    for _ in range(2 * STARTS):
        it.feed(messages=200, objects=20)
        assert it.run(workers=",".join(waiting), attempts=2 * len(points)) == 0, it.tail()
        waiting = [point for point in waiting if not it.fired(point)]
        print(f"\nnot killed yet: {waiting}", end="", flush=True)
        if not waiting:
            break
    assert waiting == [], f"never passed: {waiting}: {it.tail()}"
    return points


@pytest.mark.parametrize("life", ["sqlite-disk", "postgresql-s3"], indirect=True)
def test_the_points_of_a_store_beside_the_other_database(life: tuple[Life, Watch, str], ray_cluster: str) -> None:
    """Points of one kind of store only are passed with the other database too; the test above uses one."""
    it, watch, where = life
    passed = _kill_workers(it, WORKER_ON[where])  # first, as above
    with it.joined(ray_cluster):
        passed += [_kill_at(it, watch, case) for case in DRIVER if case.where == where]
        whole(it, watch)
    _report(it, watch, passed)


def test_a_second_kill_inside_the_recovery(life: tuple[Life, Watch, str]) -> None:
    it, watch, where = life
    seed = int(os.environ.get("STREAM_INFER_CHAOS_SEED", time.time_ns() % 10**6))
    choose = random.Random(seed)
    plain = [case.point for case in DRIVER if case.where in ("", where) and not case.bad and not case.limits]
    print(f"\nseed {seed}", end="")
    for _ in range(SECOND_KILLS):
        first, second, third = choose.choice(plain), choose.choice(plain), choose.choice(WORKER)
        it.feed(messages=100)
        ends = it.run(first), it.run(second, workers=third, attempts=20)
        print(f"\n{first}, then {second} and {third} in a worker: {ends}", end="", flush=True)
        assert watch.troubles == [], (first, second, third)
        for point in (first, second, third):
            (it.folder / "fired" / point).unlink(missing_ok=True)
    whole(it, watch)
    print("\n" + json.dumps({"kills": len(it.killed), "records": len(it.expected)}))


def test_a_kill_beside_a_file_that_stands(life: tuple[Life, Watch, str]) -> None:
    """The worker dies after its file appeared and before its report. The next attempt sees the file and dies as well."""
    it, watch, _ = life
    it.feed(messages=60)
    assert it.run(workers="sink.created,sink.taken") == 0, it.tail()
    assert it.fired("sink.created")
    assert it.fired("sink.taken")
    whole(it, watch)


def _report(it: Life, watch: Watch, passed: list[str]) -> None:
    """Print the seconds from each kill to the first file after it, where the next start lived so long."""
    recovery_seconds = [
        min(after) - at
        for at, end in pairwise([*it.killed, float("inf")])
        if (after := [seen for seen in watch.seen_at if at + 8 < seen < end])
    ]
    summary = {
        "points": len(passed),
        "kills": len(it.killed),
        "records": len(it.expected),
        "recoveries": sorted(recovery_seconds),
    }
    print("\n" + json.dumps(summary))
