"""The attempt tracker: counts the starts of each split outside the workers, and so detects a split that kills its workers."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import ray

from stream_infer.attempts import Deaths, StageStart
from stream_infer.execution.worker_exit import starved
from stream_infer.execution_seam import ExecutionReport


@dataclass(slots=True)
class _History:
    """Attempts at one split."""

    start: StageStart
    began: float
    count: int = 0
    starved: int = 0
    hung: float = 0.0
    replaced: set[str] = field(default_factory=set)  # workers that have a successor

    def deaths(self) -> Deaths:
        return Deaths(self.count, self.starved, self.start.stage, self.hung)


class AttemptTracker:
    """An actor in its own process, one per execution. A worker calls `begin` before it starts a stage of a split.

    Ray restarts a dead actor and repeats its task without limit. Only a process that outlives the worker can count the tries.

    Args:
        starved: whether Ray ended a worker (its id) because its node ran out of memory.
    """

    def __init__(self, starved: Callable[[str], bool] = starved) -> None:
        self._starved = starved
        self._histories: dict[str, _History] = {}
        self._stalled: dict[str, str] = {}
        self._closed = False
        self._failures: Counter[tuple[str, str]] = Counter()
        self._deaths: Counter[tuple[str, str]] = Counter()

    def begin(self, split_id: str, start: StageStart) -> Deaths:
        """Note the start of a stage; returns the deaths of this split so far.

        The stages of a split run in order. So if the new start is not of a later stage than the last one, the last worker
        died; but if it is the same worker, only its result was lost. A worker that seemed dead may continue beside its
        successor. Its further starts are not counted, or two live workers would look like many dead ones.
        """
        if self._closed:
            return Deaths(0, 0, start.stage, 0.0, closed=True)
        now = time.monotonic()
        history = self._histories.setdefault(split_id, _History(start._replace(order=-1), now))
        if start.worker in history.replaced:
            return history.deaths()
        stage = history.start.stage
        if start.order <= history.start.order and not (start.worker and start.worker == history.start.worker):
            history.count += 1
            history.replaced |= {history.start.worker} - {""}
            history.hung = _exceeded_deadline(history, start, now)
            starved = not history.hung and self._starved(history.start.worker)
            history.starved += starved
            self._deaths[stage, "hung" if history.hung else "memory" if starved else "died"] += 1
        history.start, history.began = start, now
        return Deaths(history.count, history.starved, stage, history.hung)

    def close(self) -> None:
        """Let no further stage start, and no stage wait for a dependency. Running tries continue."""
        self._closed = True

    def restart_clock(self, split_id: str) -> None:
        """Restart the clock of the deadline: the same worker tries the stage again, after an error or a stall."""
        if split_id in self._histories:
            self._histories[split_id].began = time.monotonic()

    def stall(self, split_id: str, reason: str, stage: str = "", dependency: str = "") -> bool:
        """Note that a stage waits because a dependency failed; the status shows the reason.

        A stall is no hang: the clock of the deadline is stopped until `restart_clock`.

        Returns:
            Whether the stage may wait; False once the tracker is closed.
        """
        self._stalled[split_id] = reason
        self._failures[stage, dependency] += 1
        if split_id in self._histories:
            self._histories[split_id].began = math.inf
        return not self._closed

    def resume(self, split_id: str) -> None:
        """Note the end of a stall."""
        self._stalled.pop(split_id, None)

    def report(self, finished: Sequence[str]) -> ExecutionReport:
        """Stalls, failures and deaths so far.

        Args:
            finished: splits that left the execution since the last report; their attempts are dropped.
        """
        for split_id in finished:
            self._histories.pop(split_id, None)
            self._stalled.pop(split_id, None)
        return ExecutionReport(dict(self._stalled), dict(self._failures), dict(self._deaths))


def _exceeded_deadline(history: _History, successor: StageStart, now: float) -> float:
    """The deadline that the dead worker exceeded, 0 if it died before. A killed process cannot report this."""
    elapsed = now - history.began
    # The dead worker did not work after its successor was set up. An older actor may also be the successor.
    lifetime = elapsed - successor.up if successor.up < elapsed else elapsed
    deadline = history.start.deadline
    return deadline if deadline is not None and lifetime >= deadline else 0.0


def start_tracker() -> ray.actor.ActorHandle:
    """An attempt tracker on this node; it reserves no CPU."""
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=True
    )
    return ray.remote(AttemptTracker).options(num_cpus=0, scheduling_strategy=here).remote()
