"""Clock, threads and queues of the product, replaced by those of a world while a simulation runs."""

from __future__ import annotations

import logging
import queue
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import tenacity.nap

from stream_infer.driver import bisection
from tests.simulation import sim_threads
from tests.simulation.sim_world import START, World

_PRODUCT = "stream_infer."
_SPARED = "stream_infer.ops."  # what people run to look on


class Clock:
    """The module `time`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def time(self) -> float:
        skew = self._world.task.process.skew if self._world.task is not None else 0.0
        return START + self._world.now + skew

    def monotonic(self) -> float:
        return self._world.now + 1000.0

    perf_counter = monotonic

    def sleep(self, seconds: float) -> None:
        self._world.park(max(0.0, seconds))

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class Threads:
    """The module `threading`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def Event(self) -> sim_threads.Event:
        return sim_threads.Event(self._world)

    def Condition(self, _lock: object = None) -> sim_threads.Condition:
        return sim_threads.Condition(self._world)

    def Lock(self) -> sim_threads.Lock:
        return sim_threads.Lock(self._world)

    RLock = Lock

    def __getattr__(self, name: str) -> Any:
        return getattr(threading, name)


class Queue:
    """`queue.Queue`."""

    def __init__(self, world: World) -> None:
        self._changed = sim_threads.Condition(world)
        self._items: deque[Any] = deque()
        self._unfinished = 0

    def put(self, item: Any) -> None:
        self._items.append(item)
        self._unfinished += 1
        self._changed.notify_all()

    def put_first(self, item: Any) -> None:
        self._items.appendleft(item)
        self._changed.notify_all()

    def get(self, timeout: float | None = None) -> Any:
        if not self._changed.wait_for(lambda: bool(self._items), timeout):
            raise queue.Empty
        return self._items.popleft()

    def get_nowait(self) -> Any:
        if not self._items:
            raise queue.Empty
        return self._items.popleft()

    def empty(self) -> bool:
        return not self._items

    def qsize(self) -> int:
        return len(self._items)

    def task_done(self) -> None:
        self._unfinished -= 1
        self._changed.notify_all()

    def join(self) -> None:
        self._changed.wait_for(lambda: not self._unfinished)


class Pool:
    """A `ThreadPoolExecutor` that runs one call after the other. The calls park often enough."""

    def __init__(self, *_: object, **__: object) -> None:
        return

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def map(self, function: Callable[..., Any], *items: Iterable[Any]) -> Iterator[Any]:
        return iter([function(*some) for some in zip(*items, strict=False)])

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*arguments))
        return future

    def shutdown(self, *_: object, **__: object) -> None:
        return


class Threading:
    """The methods of `threading.Thread` for the tasks of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.real = {name: getattr(threading.Thread, name) for name in ("start", "join", "is_alive")}

    def methods(self) -> dict[str, Any]:
        world, real = self.world, self.real

        def start(thread: Any) -> None:
            if world.task is None:
                real["start"](thread)
                return
            thread.sim_task = world.spawn(world.task.process, thread.run, thread.name)

        def join(thread: Any, timeout: float | None = None) -> None:
            if hasattr(thread, "sim_task"):
                world.join(thread.sim_task, timeout)
            else:
                real["join"](thread, timeout)

        def is_alive(thread: Any) -> bool:
            return not thread.sim_task.done if hasattr(thread, "sim_task") else real["is_alive"](thread)

        return {"start": start, "join": join, "is_alive": is_alive}


def _replacements(world: World) -> Iterator[tuple[Any, str, Any]]:
    clock, threads = Clock(world), Threads(world)
    queues = SimpleNamespace(Queue=lambda: Queue(world), Empty=queue.Empty, SimpleQueue=lambda: Queue(world))
    swapped = {id(time): clock, id(threading): threads, id(queue): queues, id(ThreadPoolExecutor): Pool}
    for name, module in list(sys.modules.items()):
        if name.startswith(_PRODUCT) and not name.startswith(_SPARED):
            for attribute in ("time", "threading", "queue", "ThreadPoolExecutor"):
                member = module.__dict__.get(attribute)
                if member is not None and id(member) in swapped:
                    yield module, attribute, swapped[id(member)]
    yield tenacity.nap, "time", clock
    yield bisection, "count_apart", lambda reader, item: reader.count_rows(item)
    for attribute, method in Threading(world).methods().items():
        yield threading.Thread, attribute, method


class LogHandler(logging.Handler):
    """A log handler that writes the product's messages into the log of the world."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.INFO)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        process = self._world.task.process.name if self._world.task is not None else "?"
        self._world.report(f"    {process}: {record.getMessage()}")


@contextmanager
def simulated(
    world: World, seed: int, more: Iterable[tuple[Any, str, Any]] = (), *, verbose: bool = False
) -> Iterator[None]:
    """Run product code in the world within the block. ``more`` holds (object, attribute, replacement)."""
    logger, handler = logging.getLogger("stream_infer"), LogHandler(world)
    changes = [*_replacements(world), *more]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    chance, quiet = random.getstate(), logging.root.manager.disable
    try:
        random.seed(seed)
        logging.disable(logging.NOTSET if verbose else logging.CRITICAL)
        if verbose:
            logger.setLevel(logging.INFO)
            logger.addHandler(handler)
        for owner, name, value in changes:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
        logger.removeHandler(handler)
        logging.disable(quiet)
        random.setstate(chance)
