"""The object store of a simulation and its notifications."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from stream_infer.connectors.files.events import ObjectEvent
from stream_infer.connectors.storage.store import Item, lost
from stream_infer.errors import Lost, Retryable
from tests.simulation.sim_threads import Condition
from tests.simulation.sim_world import START, Broken, Task, Weather, World

T = TypeVar("T")
_TIMEOUT = 5.0  # seconds a client waits for the store


@dataclass(frozen=True)
class Stored:
    data: bytes
    version: str
    modified: float


class Objects:
    """The server. Its changes last, whether or not the caller got the answer.

    Attributes:
        changed: called with (bucket, key, data, or None when deleted) after each change.
        history: every version there ever was, as (bucket, key, stored).
    """

    def __init__(self, world: World, weather: Weather) -> None:
        self.world, self.weather = world, weather
        self.buckets: dict[str, dict[str, Stored]] = {"in": {}, "out": {}}
        self.history: list[tuple[str, str, Stored]] = []
        self.down_until = 0.0
        self.changed: Callable[[str, str, Stored | None], None] = lambda *_: None

    @staticmethod
    def version(data: bytes) -> str:
        return hashlib.md5(data).hexdigest()[:12]

    def put(self, bucket: str, key: str, data: bytes) -> None:
        stored = Stored(data, self.version(data), START + self.world.now)
        self.buckets[bucket][key] = stored
        self.history.append((bucket, key, stored))
        self.changed(bucket, key, stored)

    def delete(self, bucket: str, key: str) -> None:
        if self.buckets[bucket].pop(key, None) is not None:
            self.changed(bucket, key, None)


class SimStore:
    """`stream_infer.connectors.storage.store.Store` over one bucket. A request that was sent acts even if its sender is dead by then."""

    scheme = "s3"
    conditional = True

    def __init__(self, objects: Objects, bucket: str, root: str) -> None:
        self._server, self.bucket, self.root = objects, bucket, root

    def __deepcopy__(self, _memo: object) -> SimStore:
        return self

    def _page(self, after: str) -> Sequence[str]:
        return [key for key in sorted(self._all) if key > after][:5]

    def list(self, prefix: str) -> Iterator[Item]:
        last = ""
        while True:
            keys = self._request(partial(self._page, last))
            for key in keys:
                if key.startswith(prefix) and (stored := self._all.get(key)) is not None:
                    yield _item(key, stored)
            if len(keys) < 5:
                return
            last = keys[-1]

    def head(self, key: str) -> Item | None:
        return self._request(lambda: _item(key, self._all[key]) if key in self._all else None)

    def get(self, key: str, version: str | None = None, size: int | None = None) -> bytes:
        return self._request(lambda: self._pinned(key, version).data)

    def get_range(self, key: str, start: int, stop: int, version: str | None = None) -> bytes:
        return self._request(lambda: self._pinned(key, version).data[start:stop])

    def create(self, key: str, data: bytes) -> bool:
        def act() -> bool:
            if key in self._all:
                return False
            self._server.put(self.bucket, key, data)
            return True

        return self._request(act, writes=True)

    def put(self, key: str, data: bytes) -> None:
        self._request(lambda: self._server.put(self.bucket, key, data), writes=True)

    def copy(self, key: str, target_key: str) -> None:
        self._request(lambda: self._server.put(self.bucket, target_key, self._pinned(key, None).data), writes=True)

    def delete(self, key: str, version: str | None = None) -> bool:
        def act() -> bool:
            stored = self._all.get(key)
            if stored is None or (version is not None and stored.version != version):
                return False
            self._server.delete(self.bucket, key)
            return True

        return self._request(act, writes=True)

    @property
    def _all(self) -> dict[str, Stored]:
        return self._server.buckets[self.bucket]

    def _pinned(self, key: str, version: str | None) -> Stored:
        stored = self._all.get(key)
        if stored is None or (version is not None and stored.version != version):
            raise lost(f"s3://{self.bucket}/{key}", "deleted" if stored is None else "superseded")
        return stored

    def _request(self, act: Callable[[], T], writes: bool = False) -> T:
        world, weather = self._server.world, self._server.weather
        task, rng = world.check_alive(), world.rng
        if world.now < self._server.down_until or rng.random() < weather.store_error:
            world.pause(1.0, 0.1)
            raise Retryable("the store failed: SlowDown")
        answer = _Answer(task)
        delay = rng.random() * 0.02
        if writes and rng.random() < weather.late_put:
            delay = rng.random() * 40
        unheard = writes and rng.random() < weather.lost_reply
        world.at(delay, lambda: answer.land(world, act))
        world.park(_TIMEOUT)
        answer.await_end = False
        if unheard or not answer.landed:
            raise Retryable("the store failed: no answer")
        if answer.error is not None:
            raise answer.error
        return answer.value


class _Answer:
    def __init__(self, task: Task) -> None:
        self.task, self.await_end, self.landed = task, True, False
        self.value: Any = None
        self.error: Lost | None = None

    def land(self, world: World, act: Callable[[], Any]) -> None:
        try:
            self.value = act()
        except Broken:
            raise
        except Lost as error:
            self.error = error
        self.landed = True
        if self.await_end:
            world.wake(self.task)


class SimQueue:
    """`stream_infer.connectors.files.queues.EventQueue`: notifications come late, twice, or not at all."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._arrived = Condition(world)
        self._events: list[ObjectEvent] = []

    def notify(self, key: str) -> None:
        self._events.append(ObjectEvent("in", (key,)))
        self._arrived.notify_all()

    def poll(self, timeout: float) -> list[ObjectEvent]:
        self._arrived.wait_for(lambda: bool(self._events), timeout)
        events, self._events = self._events, []
        return events

    def planned(self) -> None:
        return

    def close(self) -> None:
        return


def _item(key: str, stored: Stored) -> Item:
    return Item(key, len(stored.data), stored.modified, stored.version)
