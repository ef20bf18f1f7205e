"""The types of the stage seam: a stage, its demand, the capacity of a cluster, and a pool of actors that runs stages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

from stream_infer.config import ModelSettings
from stream_infer.tasks import Outcome, Task

Mode = Literal["auto", "fused", "three"]


@dataclass(frozen=True, slots=True)
class Demand:
    """The resources of an actor of a stage, and the number of such actors.

    Attributes:
        cpus: CPUs per actor; None: an equal share of the cluster.
        gpus: GPUs per actor.
        min_replicas / max_replicas: fewest and most actors; max None: as many as the cluster allows.
        weights: bytes of weights that each actor loads; None: unknown, then there is one actor unless the settings name more.
        cheap: whether the stage may share an actor with its neighbours, which saves a hand-over per split.
        io: whether the stage mostly waits for the network, so that its actors may share cores with those of other stages.
    """

    cpus: float | None = None
    gpus: float = 0.0
    min_replicas: int = 1
    max_replicas: int | None = None
    weights: int | None = None
    cheap: bool = False
    io: bool = False


READ_DEMAND: Final = Demand(cpus=0.25, cheap=True, io=True)
WRITE_DEMAND: Final = Demand(cpus=0.125, cheap=True, io=True)


def model_demand(settings: ModelSettings, weights: int | None) -> Demand:
    """The demand of a model's stage. A model on a device is never cheap."""
    return Demand(
        cpus=settings.cpus,
        gpus=settings.gpus,
        min_replicas=settings.replicas.min,
        max_replicas=settings.replicas.max,
        weights=weights,
        cheap=settings.cheap and not settings.gpus,
    )


class Stage(Protocol):
    """One part of the processing of a split: ``read``, ``infer`` or ``infer:NAME``, ``write``. Picklable until `setup`."""

    @property
    def name(self) -> str: ...

    @property
    def demand(self) -> Demand: ...

    def setup(self, devices: Sequence[str]) -> None:
        """Prepare the actor, once, before the first `run`. ``devices``: ``cpu``, or the stage's own ``cuda:N``."""
        ...

    def run(self, task: Task) -> Outcome:
        """The outcome of this stage, a new value. A stage may be tried again with the same task.

        Raises:
            Retryable: a dependency did not answer; the stage is tried again after a wait.
            Fatal: a person must act.
            Exception: the split is tried again, then it is `tasks.Poisoned`.
        """
        ...


class Capacity(NamedTuple):
    """Resources of the cluster; ``memory`` in bytes."""

    cpus: int
    gpus: int
    memory: int


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """One pool of actors that runs one or more stages.

    Attributes:
        first_stage: position of its first stage in the pipeline, from 0.
        cpus: CPUs that an actor reserves.
        threads: torch threads in an actor; Ray would allow one to an actor of less than a CPU.
        niceness: increase of the niceness of its processes.
    """

    name: str
    stages: tuple[Stage, ...]
    first_stage: int
    min_actors: int
    max_actors: int
    cpus: float
    gpus: float = 0.0
    threads: int = 1
    niceness: int = 0


def devices_by_stage(stages: Sequence[Stage]) -> list[list[str]]:
    """The devices of each stage of one actor, whose GPUs are divided among its stages in order."""
    devices, used = [], 0.0
    for stage in stages:
        gpus = stage.demand.gpus
        first, used = math.floor(used), used + gpus
        devices.append([f"cuda:{number}" for number in range(first, math.ceil(used))] if gpus else ["cpu"])
    return devices
