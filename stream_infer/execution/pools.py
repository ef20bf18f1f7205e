"""The layout of a pipeline on a cluster: which stages share an actor pool, how many actors, what each of them owns."""

from __future__ import annotations

from typing import Final

from stream_infer.config import PipelineSettings
from stream_infer.stages import Capacity, PoolSpec, Stage

# Reading and writing mostly wait for the network: they may share a core with the model.
_READ_CPUS: Final = 0.25
_WRITE_CPUS: Final = 0.125
# A device waits, idle, for the thread that feeds it: on a busy machine all others step back.
_BESIDE_A_DEVICE: Final = 4  # more niceness; Ray starts every worker with 15 of at most 19
# A model on CPUs runs faster as several replicas of few threads than as one of many: a thread that finishes its part
# of a layer early waits for the others, in each of hundreds of layers. More threads than these are for large machines,
# whose memory need not hold as many copies of the weights.
_REPLICA_THREADS: Final = 4
_REPLICAS_FIRST: Final = 4
_PROCESS_BYTES: Final = 700 * 2**20  # a worker with torch and transformers, without weights
_WEIGHTS_SHARE: Final = 0.5  # of the cluster's memory that all replicas together may take


def plan_pools(
    settings: PipelineSettings, read: Stage, infer: Stage, write: Stage, room: Capacity, weights: int | None
) -> list[PoolSpec]:
    """The actor pools of a pipeline in that room.

    A cheap model without a device runs with read and write in one pool: it saves two hand-overs per split.

    Args:
        weights: bytes of weights that each replica holds, None where that is not known.
    """
    model = settings.model
    if settings.stages == "fused" or (settings.stages == "auto" and model.kind == "python" and not model.gpus):
        return [_fused(settings, (read, infer, write), room)]
    wanted = model.replicas
    on_cpus = wanted.max is None and not model.gpus
    most = max(wanted.min, wanted.max or _replicas(settings, room, weights))
    # A device leaves the CPUs to those who prepare for it, but for the one that feeds it.
    readers = max(1, room.cpus - most if model.gpus else room.cpus // 2)
    writers = max(1, room.cpus // 2)
    # What reading and writing ask for is left over by the model, or the first would never be scheduled.
    left = max(0.25, room.cpus - readers * _READ_CPUS - writers * _WRITE_CPUS)
    infer_cpus = min(model.cpus or 1, left / most)
    # Beside a GPU torch only copies on CPUs: many threads on busy cores wait for each other, tens of milliseconds a copy.
    threads = max(1, int(model.cpus or (1 if model.gpus else room.cpus / most)))
    niceness = _BESIDE_A_DEVICE if model.gpus else 0
    # a device waits for the first splits until the pool has grown, and is dearer than processes that wait for work
    ready = max(1, readers // 2) if model.gpus else 1
    return [
        PoolSpec("read", (read,), ready, readers, _READ_CPUS, niceness=niceness),
        PoolSpec("infer", (infer,), most if on_cpus else wanted.min, most, infer_cpus, model.gpus, threads),
        PoolSpec("write", (write,), 1, writers, _WRITE_CPUS, niceness=niceness),
    ]


def _fused(settings: PipelineSettings, stages: tuple[Stage, ...], room: Capacity) -> PoolSpec:
    model, wanted = settings.model, settings.model.replicas
    each = min(model.cpus or 1, max(1, room.cpus))
    most = wanted.max or max(wanted.min, int(room.cpus / each))
    least = most if wanted.max is None else wanted.min
    return PoolSpec("fused", stages, least, most, each, model.gpus, max(1, int(each)))


def _replicas(settings: PipelineSettings, room: Capacity, weights: int | None) -> int:
    """How many infer actors where the settings do not say."""
    model = settings.model
    if model.gpus:
        return int(room.gpus / model.gpus)
    if weights is None:
        return 1
    by_cpus = (
        room.cpus // model.cpus if model.cpus else max(min(room.cpus, _REPLICAS_FIRST), room.cpus // _REPLICA_THREADS)
    )
    by_memory = room.memory * _WEIGHTS_SHARE // (_PROCESS_BYTES + weights)
    return max(1, int(min(by_cpus, by_memory)))
