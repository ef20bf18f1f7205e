"""The words of the stage seam: a stage, the capacity of a cluster, and the pool of actors that runs stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol


class Stage(Protocol):
    """One thing that happens to a split: ``read``, ``infer`` or ``infer:NAME``, ``write``."""

    name: str

    def setup(self) -> None:
        """Prepare the actor, once, before the first `run`."""
        ...

    def run(self, batch: Any) -> Any:
        """The batch after this stage. A stage may be tried again with the same batch."""
        ...


class Capacity(NamedTuple):
    """What the cluster has; ``memory`` in bytes."""

    cpus: int
    gpus: int
    memory: int


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """One pool of actors that runs one or more stages.

    Attributes:
        cpus: CPUs that an actor reserves.
        threads: torch threads in an actor; Ray would allow one to an actor of less than a CPU.
        niceness: increase of the niceness of its processes.
    """

    name: str
    stages: tuple[Stage, ...]
    min_actors: int
    max_actors: int
    cpus: float
    gpus: float = 0.0
    threads: int = 1
    niceness: int = 0
