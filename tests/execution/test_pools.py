"""How many actors of what size: whatever the cluster has, the pools fit into it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stream_infer.config import PipelineSettings, parse
from stream_infer.execution.pools import plan_pools
from stream_infer.stages import Capacity, PoolSpec

GIB = 2**30
TEXT = {"kind": "transformers", "task": "feature-extraction", "path": "some/model"}


def _settings(model: dict[str, Any]) -> PipelineSettings:
    source = {"name": "s", "kind": "files", "url": "/in"}
    return parse(
        {"name": "p", "ledger": "sqlite:///l.db", "sources": [source], "model": model, "sink": {"url": "/out"}}
    )


def _planned(model: dict[str, Any], capacity: Capacity, weights: int | None) -> dict[str, PoolSpec]:
    step: Any = None  # a plan does not look at what the steps do
    return {stage.name: stage for stage in plan_pools(_settings(model), step, step, step, capacity, weights)}


@given(st.integers(1, 256), st.integers(0, 2000 * GIB), st.none() | st.integers(0, 200 * GIB))
def test_replicas_on_cpus_fit_into_the_room(cpus: int, memory: int, weights: int | None) -> None:
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
