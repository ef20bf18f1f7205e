"""A world in one thread: processes made of greenlets, a clock that jumps to the next event, one random generator.

Product code runs unchanged in tasks. Wherever it would wait (a clock, a condition, a store, a database) it parks, and the
hub runs whatever event comes next. So one seed is one interleaving, and a process can die at any of those points.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import greenlet

START = 1_800_057_585.0  # seconds since the epoch when a simulation begins: 15 s before a new day


class Killed(greenlet.GreenletExit):
    """Thrown into the tasks of a dead process, so that their memory goes; nothing they do then has an effect."""


class Broken(AssertionError):
    """The error of an invariant that does not hold."""


@dataclass
class Weather:
    """Chances of faults per call; all zero once the world is healed."""

    kafka_error: float = 0.0
    store_error: float = 0.0
    lost_reply: float = 0.0
    late_put: float = 0.0
    commit_lost: float = 0.0
    commit_refused: float = 0.0
    event_twice: float = 0.0


class Process:
    """A process of the operating system. It dies at once and leaves only its completed writes.

    Attributes:
        frozen: it got SIGSTOP; what should have run meanwhile is in ``owed``.
        skew: seconds that its wall clock is wrong by.
        on_death: what the kernel does for it (closing files: the database rolls back).
        fragile: a worker: an injected fault may kill it alone.
    """

    def __init__(self, name: str, skew: float = 0.0) -> None:
        self.name = name
        self.alive = True
        self.frozen = False
        self.skew = skew
        self.tasks: list[Task] = []
        self.owed: list[Callable[[], None]] = []
        self.on_death: list[Callable[[], None]] = []


class Task:
    """A thread of a process."""

    def __init__(self, world: World, process: Process, name: str, call: Callable[[], Any]) -> None:
        self.process = process
        self.name = name
        self.turn = 0
        self.woken = False
        self.done = False
        self.joiners: list[Task] = []
        self.greenlet = greenlet.greenlet(lambda: self._run(world, call), parent=world.hub)

    def _run(self, world: World, call: Callable[[], Any]) -> None:
        try:
            call()
        except Killed:
            pass
        except BaseException as error:
            if self.process.alive:
                world.fail(f"a thread of {self.process.name} died: {self.name}: {type(error).__name__}: {error}", error)
        finally:
            self.done = True
            if self.process.alive:
                for joiner in self.joiners:
                    world.wake(joiner)


class World:
    """The scheduler. Everything random in a simulation comes from ``rng``.

    Attributes:
        now: seconds since the simulation began.
        failure: the first invariant that did not hold, or a thread that died.
        checks: called after every event; they raise Broken.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.event_count = 0
        self.failure: str | None = None
        self.cause: BaseException | None = None
        self.log: list[tuple[float, str]] = []
        self.task: Task | None = None
        self.hub = greenlet.getcurrent()
        self.checks: list[Callable[[], None]] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def report(self, text: str) -> None:
        self.log.append((self.now, text))

    def fail(self, text: str, cause: BaseException | None = None) -> None:
        if self.failure is None:
            self.report(f"FAILED: {text}")
            self.failure, self.cause = text, cause

    def at(self, delay: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._order), call))

    def run(self, until: Callable[[], bool], most: int) -> bool:
        """Run events until the condition holds (True), something failed or there were too many events (False)."""
        while self.failure is None and not until():
            if not self._events or self.event_count >= most:
                return False
            self.event_count += 1
            when, _, call = heapq.heappop(self._events)
            self.now = max(self.now, when)
            try:
                call()
                for check in self.checks:
                    check()
            except Broken as error:
                self.fail(str(error), error)
        return self.failure is None

    # processes

    def spawn(self, process: Process, call: Callable[[], Any], name: str = "") -> Task:
        task = Task(self, process, name, call)
        process.tasks.append(task)
        self._later(task, self._jitter(), False)
        return task

    def kill(self, process: Process) -> None:
        """SIGKILL. May be called by a task of the process itself: it then never returns."""
        if not process.alive:
            return
        process.alive = False
        for release in process.on_death:
            release()
        if self.task is None:
            self._bury(process)
            return
        # what unwinds a task ends in the hub, and would never come back here
        self.at(0.0, lambda: self._bury(process))
        if self.task.process is process:
            self.hub.switch()

    def freeze(self, process: Process) -> None:
        process.frozen = True

    def thaw(self, process: Process) -> None:
        process.frozen = False
        owed, process.owed = process.owed, []
        for call in owed:
            self.at(self._jitter(), call)

    def _bury(self, process: Process) -> None:
        for task in process.tasks:
            before, self.task = self.task, task
            try:
                if task.greenlet:
                    task.greenlet.throw(Killed)
            except BaseException as error:
                self.fail(f"burying {task.name}: {type(error).__name__}: {error}", error)
            self.task = before
        process.tasks.clear()

    # what tasks call

    def check_alive(self) -> Task:
        """Return the running task. Raises Killed if its process is dead, so that its cleanup has no effect."""
        assert self.task is not None, "only a task may wait"
        if not self.task.process.alive:
            raise Killed
        return self.task

    def park(self, timeout: float | None = None) -> bool:
        """Let other tasks run until this one is woken (True) or ``timeout`` seconds have passed (False)."""
        task = self.check_alive()
        task.turn += 1
        task.woken = False
        if timeout is not None:
            self._later(task, timeout + self._jitter(), False)
        self.hub.switch()
        self.check_alive()
        return task.woken

    def wake(self, task: Task) -> None:
        self._later(task, self._jitter(), True)

    def pause(self, chance: float = 1.0, most: float = 0.01) -> None:
        """A point where others may run, and where this process may die."""
        self.check_alive()
        if chance >= 1.0 or self.rng.random() < chance:
            self.park(self.rng.random() * most)

    def join(self, task: Task, timeout: float | None) -> None:
        if not task.done:
            task.joiners.append(self.check_alive())
            self.park(timeout)

    @contextmanager
    def as_task(self, task: Task | None) -> Iterator[None]:
        before, self.task = self.task, task
        try:
            yield
        finally:
            self.task = before

    def _later(self, task: Task, delay: float, woken: bool) -> None:
        turn = task.turn

        def resume() -> None:
            if task.turn != turn or not task.process.alive or task.done:
                return
            if task.process.frozen:
                task.process.owed.append(resume)
                return
            task.turn += 1
            task.woken = woken
            with self.as_task(task):
                task.greenlet.switch()

        self.at(delay, resume)

    def _jitter(self) -> float:
        # mostly the order of causes, now and then a thread that the system forgets for a while
        roll = self.rng.random()
        return roll * 0.001 if roll < 0.95 else (roll - 0.95) * 10
