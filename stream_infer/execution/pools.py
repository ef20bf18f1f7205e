"""The plan of a pipeline's actor pools: stages, number of actors and reserved resources of each pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from stream_infer.errors import Fatal
from stream_infer.stages import Capacity, Demand, Mode, PoolSpec, Stage

# A device idles until its thread feeds it, so on a busy machine all other processes get a lower priority.
_NICENESS_BESIDE_DEVICE: Final = 4  # Ray starts every worker with a niceness of 15; the highest is 19
# On CPUs several replicas with few threads are faster than one with many: in each of hundreds of layers a thread that is ready
# early waits for the others. Large machines get more threads for each replica, so that memory holds fewer copies of the weights.
_REPLICA_THREADS: Final = 4
_FIRST_REPLICAS: Final = 4
_PROCESS_BYTES: Final = 700 * 2**20  # a worker with torch and transformers, without weights
_WEIGHTS_SHARE: Final = 0.5  # of the cluster's memory, for all replicas together


def plan_pools(stages: Sequence[Stage], capacity: Capacity, mode: Mode) -> list[PoolSpec]:
    """The actor pools of a pipeline, in the order of its stages.

    Cheap stages share one pool: that saves two hand-overs per split. Otherwise each stage has its own pool.

    Raises:
        Fatal: the cluster has fewer GPUs than an actor needs.
    """
    _check_gpus(stages, capacity)
    if mode == "fused" or (mode == "auto" and all(stage.demand.cheap for stage in stages)):
        return [_fused(stages, capacity)]
    return _separate(stages, capacity)


def _check_gpus(stages: Sequence[Stage], capacity: Capacity) -> None:
    needed = sum(stage.demand.gpus for stage in stages)
    if needed > capacity.gpus:
        raise Fatal(f"model.gpus: asks for {needed:g} GPUs and the cluster has {capacity.gpus}; write gpus: 0")


def _fused(stages: Sequence[Stage], capacity: Capacity) -> PoolSpec:
    """One pool whose actors run all stages."""
    demands = [stage.demand for stage in stages if not stage.demand.io]
    cpus = min(max((demand.cpus or 1 for demand in demands), default=1), max(1, capacity.cpus))
    maxima = [demand.max_replicas for demand in demands if demand.max_replicas is not None]
    fewest = max((demand.min_replicas for demand in demands), default=1)
    most = min(maxima) if maxima else max(fewest, int(capacity.cpus / cpus))
    return PoolSpec(
        "fused",
        tuple(stages),
        first_stage=0,
        min_actors=min(fewest, most) if maxima else most,
        max_actors=most,
        cpus=cpus,
        gpus=sum(demand.gpus for demand in demands),
        threads=max(1, int(cpus)),
    )


def _separate(stages: Sequence[Stage], capacity: Capacity) -> list[PoolSpec]:
    """One pool for each stage."""
    replicas = {position: _replicas(stage.demand, stages, capacity) for position, stage in _models(stages)}
    on_devices = sum(count for position, count in replicas.items() if stages[position].demand.gpus)
    on_cpus = sum(replicas.values()) - on_devices
    io_pools = _io_pools(stages, capacity, on_devices)
    # Models leave out the CPUs that reading and writing reserve, or the first actors of these would never be scheduled.
    left = max(0.25, capacity.cpus - sum(pool.max_actors * pool.cpus for pool in io_pools))
    model_pools = []
    for position, stage in _models(stages):
        demand, most = stage.demand, replicas[position]
        fewest = most if demand.max_replicas is None and not demand.gpus else demand.min_replicas
        cpus = min(demand.cpus or 1, left / (on_devices + on_cpus))
        # With a GPU torch only copies on CPUs. Many threads on busy cores would wait for each other, tens of milliseconds in each copy.
        threads = max(1, int(demand.cpus or (1 if demand.gpus else capacity.cpus / on_cpus)))
        niceness = _NICENESS_BESIDE_DEVICE if on_devices and not demand.gpus else 0
        model_pools.append(PoolSpec(stage.name, (stage,), position, fewest, most, cpus, demand.gpus, threads, niceness))
    return sorted([*io_pools, *model_pools], key=lambda pool: pool.first_stage)


def _io_pools(stages: Sequence[Stage], capacity: Capacity, on_devices: int) -> list[PoolSpec]:
    """The pools of the stages that mostly wait for the network.

    Args:
        on_devices: number of actors that use GPUs.
    """
    last_device = max((position for position, stage in enumerate(stages) if stage.demand.gpus), default=-1)
    niceness = _NICENESS_BESIDE_DEVICE if on_devices else 0
    pools = []
    for position, stage in enumerate(stages):
        if not stage.demand.io:
            continue
        most, fewest = max(1, capacity.cpus // 2), 1
        if position < last_device:
            # The stages before a device get all CPUs but those of the threads that feed devices. The pool starts with half of its
            # actors: a device that waits until a small pool has grown costs more than processes without work.
            most = max(1, capacity.cpus - on_devices)
            fewest = max(1, most // 2)
        pools.append(PoolSpec(stage.name, (stage,), position, fewest, most, stage.demand.cpus or 0, niceness=niceness))
    return pools


def _models(stages: Sequence[Stage]) -> list[tuple[int, Stage]]:
    """The stages that compute, with their positions."""
    return [(position, stage) for position, stage in enumerate(stages) if not stage.demand.io]


def _replicas(demand: Demand, stages: Sequence[Stage], capacity: Capacity) -> int:
    """Most actors of a model's stage. Models without a number in the settings share the cluster equally."""
    rivals = [stage.demand for _, stage in _models(stages) if bool(stage.demand.gpus) == bool(demand.gpus)]
    if demand.max_replicas is not None:
        return max(demand.min_replicas, demand.max_replicas)
    return max(demand.min_replicas, _by_capacity(demand, capacity, len(rivals)))


def _by_capacity(demand: Demand, capacity: Capacity, models: int) -> int:
    if demand.gpus:
        return max(1, int(capacity.gpus / models / demand.gpus))
    if demand.weights is None:
        return 1
    cpus = capacity.cpus // models
    by_cpus = cpus // demand.cpus if demand.cpus else max(min(cpus, _FIRST_REPLICAS), cpus // _REPLICA_THREADS)
    by_memory = capacity.memory / models * _WEIGHTS_SHARE // (_PROCESS_BYTES + demand.weights)
    return max(1, int(min(by_cpus, by_memory)))
