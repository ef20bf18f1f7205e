"""The attempt gate: counts, outside the workers, how often a split was started, so that a killing one is seen."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import ray

from stream_infer.execution.worker_exit import starved


class Start(NamedTuple):
    """A worker is about to start a step.

    Attributes:
        step: its name.
        order: its place; steps run in order.
        deadline: seconds that one try may take; None: as long as it likes.
        worker: Ray's id of the process.
        up: seconds since that process was set up.
    """

    step: str
    order: int
    deadline: float | None = None
    worker: str = ""
    up: float = 0.0


class Deaths(NamedTuple):
    """Workers that died of a split.

    Attributes:
        total: all of them.
        starved: those that Ray ended because its node ran out of memory; which of a node's workers it ends is chance.
        step: what the last one did.
        hung: seconds after which the watchdog ended the last one, else 0.
        closed: the step must not start: the service stops.
    """

    total: int
    starved: int
    step: str
    hung: float
    closed: bool = False

    def charged(self, alone: bool) -> int:
        """How many of them count against the split.

        A split of many records is divided at no loss, and smaller pieces need less memory. A record alone would be
        rejected, perhaps for its neighbour's greed: four such deaths count as one.
        """
        return self.total - self.starved + self.starved // 4 if alone else self.total


class Told(NamedTuple):
    """What the gate has seen since it was opened.

    Attributes:
        waiting: split to the dependency failure that it waits out now.
        failures: of dependencies, by step and dependency.
        deaths: of workers, by step and cause: ``died``, ``hung`` or ``memory``.
    """

    waiting: dict[str, str]
    failures: dict[tuple[str, str], int]
    deaths: dict[tuple[str, str], int]


@dataclass(slots=True)
class _Life:
    """What is known of one split."""

    start: Start
    began: float
    count: int = 0
    starved: int = 0
    hung: float = 0.0
    gone: set[str] = field(default_factory=set)  # workers that others took the place of


class AttemptTracker:
    """Lives in its own process, one per execution. A worker asks before it starts a step of a split.

    Ray restarts a dead actor and tries its task again without end; only a process that outlives the worker can tell
    the third try from the first.

    Args:
        starved: whether Ray ended a worker (its id) because its node ran out of memory.
    """

    def __init__(self, starved: Callable[[str], bool] = starved) -> None:
        self._starved = starved
        self._lives: dict[str, _Life] = {}
        self._waiting: dict[str, str] = {}
        self._closed = False
        self._failures: Counter[tuple[str, str]] = Counter()
        self._deaths: Counter[tuple[str, str]] = Counter()

    def begin(self, split_id: str, start: Start) -> Deaths:
        """A step starts; returns who died of this split so far.

        Steps run in order. One that does not come after the last one begun means that its worker died, unless that
        same worker asks: then its result was lost. A worker that was only taken for dead may go on beside its
        successor: what it begins is not counted, or two that live would look like many that die.
        """
        if self._closed:
            return Deaths(0, 0, start.step, 0.0, closed=True)
        now = time.monotonic()
        life = self._lives.setdefault(split_id, _Life(start._replace(order=-1), now))
        step = life.start.step
        if start.worker in life.gone:
            return Deaths(life.count, life.starved, step, life.hung)
        if start.order <= life.start.order and not (start.worker and start.worker == life.start.worker):
            life.count += 1
            life.gone |= {life.start.worker} - {""}
            life.hung = _hung(life, start, now)
            starved = not life.hung and self._starved(life.start.worker)
            life.starved += starved
            self._deaths[step, "hung" if life.hung else "memory" if starved else "died"] += 1
        life.start, life.began = start, now
        return Deaths(life.count, life.starved, step, life.hung)

    def close(self) -> None:
        """Let no step start any more, nor wait for a dependency; what runs may end."""
        self._closed = True

    def again(self, split_id: str) -> None:
        """The same worker tries the step once more, after an error or a wait: its clock starts anew."""
        if split_id in self._lives:
            self._lives[split_id].began = time.monotonic()

    def waits(self, split_id: str, why: str | None, step: str = "", dependency: str = "") -> bool:
        """A step cannot go on for now, because a dependency failed, or with None can again; shown in the status.

        Waiting is no hanging: the clock stands still until the step is tried `again`.

        Returns:
            Whether it may wait; else nothing is started any more.
        """
        if why is None:
            self._waiting.pop(split_id, None)
            return True
        self._waiting[split_id] = why
        self._failures[step, dependency] += 1
        if split_id in self._lives:
            self._lives[split_id].began = math.inf
        return not self._closed

    def told(self, through: Sequence[str]) -> Told:
        """What workers wait for, and what went wrong with them so far.

        Args:
            through: splits that came out since the last time; they are forgotten.
        """
        for split_id in through:
            self._lives.pop(split_id, None)
            self._waiting.pop(split_id, None)
        return Told(dict(self._waiting), dict(self._failures), dict(self._deaths))


def _hung(life: _Life, successor: Start, now: float) -> float:
    """The deadline that the dead worker passed, 0 if it died before. A process that was killed cannot tell."""
    gone = now - life.began
    # What passed since its successor was set up, it was dead; the successor may also be an actor that was there before.
    lived = gone - successor.up if successor.up < gone else gone
    deadline = life.start.deadline
    return deadline if deadline is not None and lived >= deadline else 0.0


def start_tracker() -> ray.actor.ActorHandle:
    """A gate on this node that costs no CPU of the pool."""
    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=True
    )
    return ray.remote(AttemptTracker).options(num_cpus=0, scheduling_strategy=here).remote()
