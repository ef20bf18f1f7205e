"""The executor's own wait for tasks, and the unchanged behaviour of other datasets of the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from stream_infer.execution import executor


class _Ray:
    """A module ``ray`` whose `wait` returns the refs of ``ready`` at once and notes how many it was to wait for."""

    def __init__(self) -> None:
        self.ready: list[str] = []
        self.waited: list[int] = []

    def wait(
        self, refs: list[str], *, num_returns: int, fetch_local: bool, timeout: float
    ) -> tuple[list[str], list[str]]:
        if timeout:
            self.waited.append(num_returns)
        return [ref for ref in refs if ref in self.ready], [ref for ref in refs if ref not in self.ready]


def test_the_loop_wakes_with_the_first_task_and_does_not_spin_for_one_that_is_held_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = _Ray()
    monkeypatch.setattr(executor, "ray", fake)
    task_wait, refs = executor.TaskWait(lambda: 0.25), ["a", "b", "c"]

    def wait_once() -> tuple[list[str], list[str]]:
        return task_wait.wait(refs, num_returns=3, fetch_local=False, timeout=0.1)

    assert wait_once() == ([], refs)
    assert fake.waited == [1]
    fake.ready = ["b"]
    for _ in range(2):  # its block and its end: both are fetched without a wait
        assert wait_once() == (["b"], ["a", "c"])
    assert fake.waited == [1]
    for _ in range(3):  # backpressure holds it: the wait is for another one
        wait_once()
    assert fake.waited == [1, 2, 2, 2]
    fake.ready = ["b", "c"]
    wait_once()
    assert fake.waited == [1, 2, 2, 2]
    fake.ready = refs
    for _ in range(4):  # all are ready: Ray itself would not wait either
        assert wait_once() == (refs, [])
    assert fake.waited == [1, 2, 2, 2]


_SIDE_BY_SIDE = """
import contextlib, logging, os
import psutil, pyarrow as pa, ray, ray.data
from ray.data._internal import stats
from ray.data._internal.cluster_autoscaler import rate_based_cluster_autoscaler
from ray.data._internal.execution import metadata_fetcher, streaming_executor, streaming_executor_state
from ray.data._internal.execution.operators import actor_pool_map_operator
from stream_infer.execution.cluster import connect
from stream_infer.execution.unbounded import Feed, blocks, mapped, unbounded

SCHEMA = pa.schema([("n", pa.int64())])
MODULES = (stats._StatsManager, rate_based_cluster_autoscaler, metadata_fetcher, streaming_executor,
           streaming_executor.StreamingExecutor, streaming_executor_state, actor_pool_map_operator,
           actor_pool_map_operator.ActorPoolMapOperator, ray._private.node.Node, ray)

class Same:
    def __call__(self, table):
        return table

def state():
    level = logging.getLogger("ray.data").level
    return [dict(vars(module)) for module in MODULES], dict(os.environ), level

def helpers():
    names = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            names.append(" ".join(process.cmdline()))
    return sorted({h for h in ("_StatsActor", "ActorLocationTracker", "Autoscaling") for n in names if h in n})

def users_dataset():
    dataset = ray.data.range(20, override_num_blocks=2).map_batches(Same, concurrency=1, num_cpus=0.1)
    assert dataset.count() == 20
    assert len(dataset.materialize().take_all()) == 20

def execution():
    feed = Feed(SCHEMA)
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=1)
    dataset = mapped(unbounded(feed), Same, {}, compute=pool, num_cpus=0.1)
    out = blocks(dataset, feed)
    return feed, out

def send(feed, out, n):
    feed.push(pa.table({"n": [n]}, schema=SCHEMA))
    assert next(out).column("n").to_pylist() == [n]

def same(before):
    modules, environment, level = state()
    for module, old, new in zip(MODULES, before[0], modules):
        changed = {name for name in old if old[name] is not new.get(name)} - {"_num_shutdown"}  # a counter of Ray's
        assert not changed, (module, changed)
    assert (environment, level) == before[1:], "environment or log level"

_, environment, level = state()
connect()
connected = state()
assert connected[1].get("PYTHONPATH") == environment.get("PYTHONPATH")
assert not any(name.startswith("RAY_DATA") for name in connected[1].keys() - environment.keys())
assert connected[2] == level
first, first_out = execution()
second, second_out = execution()
for n in range(3):
    send(first, first_out, n)
    send(second, second_out, -n)
same(connected)
print("without", helpers())
users_dataset()
print("user", helpers())
send(first, first_out, 7)
send(second, second_out, 8)
same(connected)
first.close()
assert list(first_out) == []
users_dataset()
send(second, second_out, 9)
second.close()
assert list(second_out) == []
users_dataset()
same(connected)
print("done")
"""


def test_two_executions_and_a_dataset_of_the_user_run_side_by_side() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _SIDE_BY_SIDE],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=Path(__file__).parents[2],
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    without, user, done = ran.stdout.strip().splitlines()[-3:]
    assert without == "without []"
    assert "_StatsActor" in user
    assert "Autoscaling" in user
    assert done == "done"
