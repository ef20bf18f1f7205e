"""Instances of the service in a world: the real supervisor, planners, committer, ledger, sources, stages and sink.

Only the execution (Ray) is simulated: workers are processes that die, hang and come late, and an attempt tracker that outlives them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa

from stream_infer.errors import RejectRecord
from stream_infer.execution.attempts import AttemptTracker
from stream_infer.execution_seam import ExecutionReport
from stream_infer.models.batching import BatchedModel
from stream_infer.splits import Split
from stream_infer.stages import PoolSpec
from stream_infer.tasks import Done, Task
from stream_infer.worker.actor import StageActor
from stream_infer.worker.envelope import pack, unpack
from tests.simulation.sim_case import HORIZON
from tests.simulation.sim_shims import Queue
from tests.simulation.sim_threads import Event
from tests.simulation.sim_world import START, Process, Weather, World


class SimModel(BatchedModel):
    """A model that reverses the text. It raises, hangs or ends its process where the text asks for it."""

    identity = "sim@1"
    reads: frozenset[str] | None = None

    def __init__(self, world: World, doom: Callable[[], None]) -> None:
        self._world, self._doom = world, doom

    def __deepcopy__(self, _memo: object) -> SimModel:
        return self

    def prepare(self, records: pa.Table) -> pa.Table:
        texts = records.column("text").to_pylist()
        if any("|memory" in text for text in texts):
            raise MemoryError("too much")
        for text in texts:
            if "|raise" in text or ("|moody" in text and self._world.now < HORIZON):
                raise RejectRecord("not liked", reason="moody")
        return records

    def cost(self, prepared: pa.Table) -> np.ndarray:
        return np.ones(prepared.num_rows)

    def infer(self, batch: pa.Table) -> pa.Table:
        world, texts = self._world, batch.column("text").to_pylist()
        world.pause(0.5, 0.3)
        for text in texts:
            if "|kill" in text:
                world.kill(world.check_alive().process)
            if "|hang" in text:
                world.park(60.0)
                world.kill(world.check_alive().process)
            if "|doom" in text:
                self._doom()
                world.kill(world.check_alive().process)
            if "|sour" in text:
                raise ValueError("sour")
        return pa.table({"answer": [text[::-1] for text in texts]})


class _Tracker:
    """The actor handle of an `AttemptTracker`, which lives in a process of its own."""

    def __init__(self, world: World) -> None:
        self._world, self._tracker = world, AttemptTracker(starved=lambda worker: False)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._tracker, name)
        return SimpleNamespace(remote=lambda *arguments: method(*arguments))


class Ray:
    """The part of the module `ray` that `stages` uses."""

    def __init__(self, world: World) -> None:
        self._world = world

    def get_runtime_context(self) -> SimpleNamespace:
        return SimpleNamespace(get_worker_id=lambda: self._world.check_alive().process.name)

    def get(self, answer: Any, **_: Any) -> Any:
        self._world.pause(0.3, 0.01)
        return answer


class Town:
    """The state that all instances share beside the outside world: the ledger's file and the running instances."""

    def __init__(self, world: World, weather: Weather) -> None:
        self.world, self.weather = world, weather
        self.executions: list[SimExecution] = []
        self.workers = 0


@contextmanager
def watched(world: World, seconds: float | None) -> Iterator[None]:
    """`engine.watchdog.watched`: kills the worker."""
    process, over = world.check_alive().process, [False]
    if seconds is not None:
        world.at(seconds, lambda: None if over[0] else world.kill(process))
    try:
        yield
    finally:
        over[0] = True


class SimExecution:
    """`execution.execution.RayExecution`: pools of worker processes, one pool a stage."""

    def __init__(self, town: Town, number: int, stages: Sequence[PoolSpec], attempts: int, outcomes: Queue) -> None:
        self.number = number
        self.started_at = START + town.world.now
        self.submitted = 0
        self.failure: BaseException | None = None
        self._town, self._world = town, town.world
        self._ended = Event(town.world)
        self.reason = "simulated"
        self._driver = town.world.check_alive().process
        self._outcomes = outcomes
        self._attempts = attempts
        self._stages = stages
        self._inside = 0
        self._closing = self._over = False
        self.tracker = _Tracker(town.world)
        self._queues = [Queue(town.world) for _ in stages]
        self.workers: list[Process] = []
        for index, spec in enumerate(stages):
            for _ in range(spec.max_actors):
                self._hire(index)
        town.executions.append(self)
        self._driver.on_death.append(lambda: self.abandon(town.world.rng.random() * 8))

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    def warm(self, timeout: float) -> None:
        self._world.pause(1.0, 3.0)

    def submit(self, split: Split, deadline: float | None = None) -> None:
        self.submitted += 1
        self._inside += 1
        self._queues[0].put(pack(Done(Task(split, deadline=deadline))))

    def report(self) -> ExecutionReport:
        return ExecutionReport()

    def hold(self) -> None:
        self.tracker.close.remote()

    def actors(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        self._closing = True
        self._look()

    def join(self, timeout: float | None = None) -> bool:
        return self._ended.wait(timeout)

    def fail(self) -> None:
        """Fail the execution. Its workers run on for a while, and their outcomes are dropped."""
        if not self._ended.is_set() and self._driver.alive:
            self.failure = RuntimeError("the execution failed")
            self._ended.set()
            self.abandon(self._world.rng.random() * 8)

    def abandon(self, linger: float) -> None:
        self._over = True
        for worker in list(self.workers):
            self._world.at(linger * self._world.rng.random(), partial(self._world.kill, worker))

    def lose(self, worker: Process) -> None:
        """Start the worker's task again elsewhere, as Ray does for a node that seems dead. The worker runs on."""
        if worker in self.workers and not self._over:
            self.workers.remove(worker)
            self._replace(worker)
            self._world.at(60.0, lambda: self._world.kill(worker))

    def _hire(self, index: int) -> None:
        self._town.workers += 1
        worker = Process(f"worker-{self._town.workers}")
        worker.stage, worker.item = index, None  # type: ignore[attr-defined]
        worker.on_death.append(lambda: self._died(worker))
        self.workers.append(worker)
        self._world.spawn(worker, lambda: self._work(worker, index), worker.name)

    def _died(self, worker: Process) -> None:
        self._world.report(f"{worker.name} dies")
        if worker in self.workers:
            self.workers.remove(worker)
            if not self._over:
                self._world.at(0.5, lambda: self._replace(worker))

    def _replace(self, worker: Process) -> None:
        if not self._over:
            if worker.item is not None:  # type: ignore[attr-defined]
                self._queues[worker.stage].put_first(worker.item)  # type: ignore[attr-defined]
            self._hire(worker.stage)  # type: ignore[attr-defined]

    def _work(self, worker: Any, index: int) -> None:
        spec = self._stages[index]
        stage = StageActor(deepcopy(spec.stages), spec.first_stage, self.tracker, self._attempts, 1)
        while True:
            item = self._queues[index].get()
            if worker not in self.workers:
                self._queues[index].put_first(item)
                return  # it was lost while it had nothing to do
            worker.item = item
            answer = stage(worker.item)
            worker.item = None
            if worker not in self.workers:
                return  # it was lost: nobody listens
            if index + 1 < len(self._stages):
                self._queues[index + 1].put(answer)
            else:
                self._world.at(self._world.rng.random() * 0.01, partial(self._deliver, answer))

    def _deliver(self, envelope: pa.Table) -> None:
        if self._driver.alive and not self._over:
            outcome = unpack(envelope)
            self.tracker.report.remote([outcome.task.split.split_id])
            self._outcomes.put(outcome)
            self._inside -= 1
            self._look()

    def _look(self) -> None:
        if self._closing and not self._inside and not self._ended.is_set():
            self._ended.set()
            self.abandon(0.1)
