"""A local Ray starts only what one service on one machine needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name

import pytest

from stream_infer.execution import minimal_ray

_LOOK = """
import os, psutil, ray
from stream_infer.execution.cluster import connect
from stream_infer.execution.unbounded import Feed, blocks, mapped, unbounded
from stream_infer.worker.envelope import ENVELOPE
import pyarrow as pa

class Same:
    def __call__(self, table):
        return table

room = connect()
feed = Feed(ENVELOPE)
dataset = mapped(unbounded(feed), Same, {}, compute=ray.data.ActorPoolStrategy(min_size=1, max_size=2), num_cpus=0.5)
feed.push(pa.table({name: pa.nulls(1, kind) for name, kind in zip(ENVELOPE.names, ENVELOPE.types)}, schema=ENVELOPE))
feed.close()
assert sum(1 for _ in blocks(dataset, feed)) == 1
names = [" ".join(each.cmdline()) for each in psutil.Process().children(recursive=True)]
print(room.cpus, "|".join(names))
"""


def test_an_execution_brings_no_helpers_and_sees_the_whole_machine() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _LOOK], capture_output=True, text=True, timeout=240, cwd=Path(__file__).parents[2]
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    cpus, _, names = ran.stdout.strip().splitlines()[-1].partition(" ")
    assert int(cpus) >= 1
    assert "raylet" in names
    for helper in (
        "monitor.py",
        "dashboard.py",
        "_StatsActor",
        "ActorLocationTracker",
        "Autoscaling",
        "UsageCollection",
    ):
        assert helper not in names, names


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (minimal_ray._NODE, ["start_monitor", "start_api_server", "start_log_monitor"]),
        (
            minimal_ray._STATS,
            ["update_execution_metrics", "register_dataset_to_stats_actor", "gen_dataset_id_from_stats_actor"],
        ),
        (minimal_ray._OPERATOR, ["get_or_create_actor_location_tracker", "get_actor_locations"]),
        (minimal_ray._AUTOSCALER, ["DefaultAutoscalingCoordinator"]),
    ],
)
def test_this_ray_has_what_is_replaced(owner: str, names: list[str]) -> None:
    assert all(hasattr(resolve_name(owner), name) for name in names)


def test_what_another_ray_lacks_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    assert minimal_ray._replace(minimal_ray._NODE, "start_something_else", None) is None
    assert "start_something_else" in caplog.text
