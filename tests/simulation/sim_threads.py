"""The classes of `threading`, for the tasks of a world."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.sim_world import Task, World


class Event:
    """`threading.Event` of the world."""

    def __init__(self, world: World) -> None:
        self._world, self._set = world, False
        self._waiters: list[Task] = []

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        waiters, self._waiters = self._waiters, []
        for task in waiters:
            self._world.wake(task)

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        if not self._set:
            self._waiters.append(self._world.check_alive())
            self._world.park(None if timeout is None else max(0.0, timeout))
        return self._set


class Condition:
    """`threading.Condition`. Only its `wait` lets other tasks run, so it needs no lock."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._waiters: list[Task] = []

    def __enter__(self) -> Condition:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def notify_all(self) -> None:
        waiters, self._waiters = self._waiters, []
        for task in waiters:
            self._world.wake(task)

    notify = notify_all

    def wait(self, timeout: float | None = None) -> bool:
        self._waiters.append(self._world.check_alive())
        return self._world.park(timeout)

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None = None) -> bool:
        end = None if timeout is None else self._world.now + timeout
        while not predicate():
            if end is not None and self._world.now >= end:
                return False
            self.wait(None if end is None else end - self._world.now)
        return True


class Lock:
    """`threading.Lock`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._locked = False
        self._waiters: list[Task] = []

    def __enter__(self) -> bool:
        while self._locked:
            self._waiters.append(self._world.check_alive())
            self._world.park()
        self._locked = True
        return True

    def __exit__(self, *_: object) -> None:
        self._locked = False
        if self._waiters:
            self._world.wake(self._waiters.pop(0))
