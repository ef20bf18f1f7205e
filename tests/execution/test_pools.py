"""How many actors of what size: whatever the cluster has, the pools fit into it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.config import PipelineSettings, parse
from stream_infer.errors import Fatal
from stream_infer.execution.pools import plan_pools
from stream_infer.stages import (
    READ_DEMAND,
    WRITE_DEMAND,
    Capacity,
    Demand,
    PoolSpec,
    devices_by_stage,
    model_demand,
)
from stream_infer.tasks import Outcome, Task

GIB = 2**30
TEXT = {"kind": "transformers", "task": "feature-extraction", "path": "some/model"}


def _settings(model: dict[str, Any]) -> PipelineSettings:
    source = {"name": "s", "kind": "files", "url": "/in"}
    return parse(
        {"name": "p", "ledger": "sqlite:///l.db", "sources": [source], "model": model, "sink": {"url": "/out"}}
    )


class _Stage:
    """A stage that only has a name and a demand: a plan does not look at anything else."""

    def __init__(self, name: str, demand: Demand) -> None:
        self.name = name
        self.demand = demand

    def setup(self, devices: Sequence[str]) -> None:
        raise NotImplementedError

    def run(self, task: Task) -> Outcome:
        raise NotImplementedError


def _stages(models: dict[str, Demand]) -> list[_Stage]:
    middle = [_Stage(name, demand) for name, demand in models.items()]
    return [_Stage("read", READ_DEMAND), *middle, _Stage("write", WRITE_DEMAND)]


def _planned(model: dict[str, Any], capacity: Capacity, weights: int | None) -> dict[str, PoolSpec]:
    settings = _settings(model)
    stages = _stages({"infer": model_demand(settings.model, weights)})
    return {pool.name: pool for pool in plan_pools(stages, capacity, settings.stages)}


@given(st.integers(1, 256), st.integers(0, 2000 * GIB), st.none() | st.integers(0, 200 * GIB))
def test_replicas_on_cpus_fit_into_the_cluster(cpus: int, memory: int, weights: int | None) -> None:
    planned = _planned(TEXT, Capacity(cpus, 0, memory), weights)
    infer = planned["infer"]
    assert infer.min_actors == infer.max_actors >= 1
    assert sum(stage.max_actors * stage.cpus for stage in planned.values()) <= max(cpus, 1) + 1e-6
    assert infer.max_actors * infer.threads <= max(cpus, infer.max_actors)
    if infer.max_actors > 1:
        assert weights is not None
        assert infer.max_actors * weights <= memory / 2


def test_small_models_get_replicas_of_few_threads() -> None:
    sizes = {cpus: _planned(TEXT, Capacity(cpus, 0, 512 * GIB), 90 * 2**20)["infer"] for cpus in (1, 2, 8, 64)}
    assert {cpus: (infer.max_actors, infer.threads) for cpus, infer in sizes.items()} == {
        1: (1, 1),
        2: (2, 1),
        8: (4, 2),
        64: (16, 4),
    }


def test_a_model_that_fills_the_memory_gets_one_replica_with_all_threads() -> None:
    infer = _planned(TEXT, Capacity(16, 0, 64 * GIB), 28 * GIB)["infer"]
    assert (infer.max_actors, infer.threads) == (1, 16)


def test_settings_decide_where_they_say_something() -> None:
    capacity = Capacity(16, 4, 64 * GIB)
    asked = _planned({**TEXT, "replicas": {"min": 2, "max": 3}}, capacity, GIB)["infer"]
    assert (asked.min_actors, asked.max_actors) == (2, 3)
    assert _planned({**TEXT, "cpus": 8}, capacity, GIB)["infer"].threads == 8
    on_gpus = _planned({**TEXT, "gpus": 1}, capacity, GIB)["infer"]
    assert (on_gpus.min_actors, on_gpus.max_actors, on_gpus.gpus) == (1, 4, 1)


def test_beside_a_gpu_torch_has_one_thread_unless_the_settings_give_more() -> None:
    capacity = Capacity(16, 1, 64 * GIB)
    assert _planned({**TEXT, "gpus": 1}, capacity, GIB)["infer"].threads == 1
    assert _planned({**TEXT, "gpus": 1, "cpus": 4}, capacity, GIB)["infer"].threads == 4


def test_a_gpu_leaves_the_cpus_to_those_who_prepare_for_it_and_they_let_its_thread_go_first() -> None:
    planned = _planned({**TEXT, "gpus": 1}, Capacity(16, 1, 64 * GIB), GIB)
    assert (planned["read"].min_actors, planned["read"].max_actors) == (7, 15)
    assert planned["infer"].niceness < planned["read"].niceness == planned["write"].niceness
    assert sum(stage.max_actors * stage.cpus for stage in planned.values()) <= 16


DEMANDS = st.builds(
    Demand,
    cpus=st.none() | st.floats(0.5, 4),
    gpus=st.sampled_from([0, 0, 1, 2]),
    min_replicas=st.just(1),
    max_replicas=st.none() | st.integers(1, 8),
    weights=st.none() | st.integers(0, 4 * GIB),
)


@given(st.lists(DEMANDS, min_size=1, max_size=4), st.integers(1, 128), st.integers(8, 16))
def test_several_models_are_several_stages_in_order_that_fit_into_the_cluster(
    demands: list[Demand], cpus: int, gpus: int
) -> None:
    names = [f"infer:{number}" for number in range(len(demands))]
    stages = _stages(dict(zip(names, demands, strict=True)))
    pools = plan_pools(stages, Capacity(cpus, gpus, 512 * GIB), "three")
    assert [pool.name for pool in pools] == ["read", *names, "write"]
    assert [pool.first_stage for pool in pools] == list(range(len(stages)))
    assert all(pool.max_actors >= pool.min_actors >= 1 for pool in pools)
    assert sum(pool.max_actors * pool.cpus for pool in pools) <= max(cpus, 1) + 1e-6
    unlimited = [pool for pool in pools if pool.gpus and pool.stages[0].demand.max_replicas is None]
    assert sum(pool.max_actors * pool.gpus for pool in unlimited) <= gpus


def test_two_models_divide_the_cluster_and_both_are_fed() -> None:
    stages = _stages({"infer:emb": Demand(gpus=1, weights=GIB), "infer:lang": Demand(weights=GIB)})
    pools = {pool.name: pool for pool in plan_pools(stages, Capacity(16, 2, 64 * GIB), "auto")}
    assert list(pools) == ["read", "infer:emb", "infer:lang", "write"]
    assert (pools["infer:emb"].max_actors, pools["infer:emb"].gpus) == (2, 1)
    assert (pools["infer:lang"].min_actors, pools["infer:lang"].max_actors, pools["infer:lang"].threads) == (4, 4, 4)
    assert pools["read"].max_actors == 14
    assert pools["infer:emb"].niceness < pools["infer:lang"].niceness == pools["read"].niceness


def test_cheap_models_share_one_pool_with_reading_and_writing() -> None:
    stages = _stages({"infer:a": Demand(cheap=True), "infer:b": Demand(cheap=True, max_replicas=3)})
    (pool,) = plan_pools(stages, Capacity(8, 0, 64 * GIB), "auto")
    assert [stage.name for stage in pool.stages] == ["read", "infer:a", "infer:b", "write"]
    assert (pool.name, pool.min_actors, pool.max_actors, pool.first_stage) == ("fused", 1, 3, 0)


def test_an_actor_with_several_models_gives_each_its_own_devices() -> None:
    stages = _stages({"infer:a": Demand(gpus=1), "infer:b": Demand(), "infer:c": Demand(gpus=2)})
    assert devices_by_stage(stages) == [["cpu"], ["cuda:0"], ["cpu"], ["cuda:1", "cuda:2"], ["cpu"]]
    shared = _stages({"infer:a": Demand(gpus=0.5), "infer:b": Demand(gpus=0.5)})
    assert devices_by_stage(shared)[1:3] == [["cuda:0"], ["cuda:0"]]


def test_more_gpus_than_the_cluster_has_are_refused_by_a_sentence() -> None:
    with pytest.raises(Fatal, match=r"model\.gpus: asks for 4 GPUs and the cluster has 2; write gpus: 0"):
        plan_pools(_stages({"infer": Demand(gpus=4)}), Capacity(8, 2, GIB), "auto")
