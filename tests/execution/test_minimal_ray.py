"""A local Ray starts only what one service on one machine needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stream_infer.execution import minimal_ray, ray_private

_HELPERS = ("monitor.py", "dashboard.py", "_StatsActor", "ActorLocationTracker", "Autoscaling")
_USAGE = "UsageCollection"  # starts only where usage reports can be sent: an ordinary Ray need not show it

_PROCESSES = """
import contextlib, psutil, ray, sys
import pyarrow as pa
from stream_infer.execution.unbounded import Feed, blocks, mapped, unbounded
from stream_infer.execution.cluster import connect

class Same:
    def __call__(self, table):
        return table

if sys.argv[1] == "ours":
    cpus = connect().cpus
    feed = Feed(pa.schema([("n", pa.int64())]))
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=2)
    dataset = mapped(unbounded(feed), Same, {}, compute=pool, num_cpus=0.5)
    feed.push(pa.table({"n": [1]}))
    feed.close()
    assert sum(1 for _ in blocks(dataset, feed)) == 1
else:
    ray.init(address="local", include_dashboard=True, log_to_driver=False)
    cpus = int(ray.cluster_resources()["CPU"])
    assert ray.data.range(8).map_batches(Same, concurrency=1, num_cpus=0.5).count() == 8
    assert len(ray.data.range(8).map_batches(Same, concurrency=1, num_cpus=0.5).take_all()) == 8
names = []
for process in psutil.Process().children(recursive=True):
    with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile
        names.append(" ".join(process.cmdline()))
print(cpus, "|".join(names))
"""


def _processes(kind: str) -> tuple[int, str]:
    """The CPUs and the command lines of all processes after one dataset has run on a local Ray."""
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", _PROCESSES, kind],
        capture_output=True,
        text=True,
        timeout=140,
        cwd=root,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    cpus, _, names = ran.stdout.strip().splitlines()[-1].partition(" ")
    return int(cpus), names


def test_an_execution_has_the_whole_machine_and_no_helpers() -> None:
    cpus, names = _processes("ours")
    assert cpus >= 1
    assert "raylet" in names
    assert [helper for helper in (*_HELPERS, _USAGE) if helper in names] == []


def test_the_same_look_at_an_ordinary_ray_finds_the_helpers() -> None:
    _, names = _processes("ordinary")
    assert [helper for helper in _HELPERS if helper not in names] == []


def test_a_name_that_another_ray_lacks_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    assert minimal_ray._replace(ray_private.Node, "start_something_else", None) is None
    assert "start_something_else" in caplog.text


def test_the_start_of_servers_is_as_before_after_the_start() -> None:
    before = dict(vars(ray_private.Node))
    with minimal_ray.without_servers():
        assert vars(ray_private.Node) != before
    assert vars(ray_private.Node) == before
