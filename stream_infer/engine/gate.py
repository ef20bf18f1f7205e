"""The attempt gate: counts, outside the workers, how often a split was started, so that a killing one is seen."""

from __future__ import annotations

from collections.abc import Sequence

import ray


class AttemptGate:
    """Lives in its own process, one per generation. A worker asks before it starts a step of a split.

    Ray restarts a dead actor and tries its task again without end; only a process that outlives the worker can tell
    the third try from the first.
    """

    def __init__(self) -> None:
        self._running: dict[str, tuple[int, str]] = {}
        self._deaths: dict[str, int] = {}
        self._waiting: dict[str, str] = {}

    def begin(self, split_id: str, step: str, order: int) -> tuple[int, str]:
        """A step starts; returns how many workers died of this split so far, and the step the last one died in.

        Steps run in ``order``. One that does not come after the last one begun means that its worker died.
        """
        last, name = self._running.get(split_id, (-1, step))
        if order <= last:
            self._deaths[split_id] = self._deaths.get(split_id, 0) + 1
        self._running[split_id] = (order, step)
        return self._deaths.get(split_id, 0), name

    def waits(self, split_id: str, why: str) -> None:
        """A step cannot go on for now; shown in the status."""
        self._waiting[split_id] = why

    def forget(self, split_ids: Sequence[str]) -> None:
        """These splits are through."""
        for split_id in split_ids:
            self._running.pop(split_id, None)
            self._deaths.pop(split_id, None)
            self._waiting.pop(split_id, None)

    def waiting(self) -> dict[str, str]:
        """Split to the dependency failure it waits out."""
        return dict(self._waiting)


def open_gate() -> ray.actor.ActorHandle:
    """A gate on this node that costs no CPU of the pool."""
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=True
    )
    return ray.remote(AttemptGate).options(num_cpus=0, scheduling_strategy=here).remote()
