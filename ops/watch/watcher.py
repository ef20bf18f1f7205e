"""The watcher: the one place that computes the snapshot, once a second for all who look."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from stream_infer.errors import StreamInferError
from stream_infer.ops.watch import doctor
from stream_infer.ops.watch.assembly import Stored, assemble
from stream_infer.ops.watch.samples import Samples, taken
from stream_infer.ops.watch.snapshot import Snapshot
from stream_infer.pipeline import Pipeline

log = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0  # between snapshots while somebody looks
_REST_SECONDS = 5.0  # between samples while nobody does: rates need a past
_INTEREST_SECONDS = 10.0  # how long one request counts as looking
_SHOWN_SPLITS, _SHOWN_REJECTS = 12, 8


@dataclass(frozen=True)
class Published:
    """A snapshot for all who listen, made into JSON once."""

    number: int
    snapshot: Snapshot

    @cached_property
    def json(self) -> str:
        return self.snapshot.model_dump_json()


class Watcher:
    """A thread that samples the metrics, and while somebody looks reads the ledger and publishes snapshots.

    Who listens gets the newest snapshot there is, whenever it comes back for one: nothing is queued for anybody, so a
    slow listener costs nothing. A ledger that does not answer makes figures old, never the watcher late.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._samples = Samples()
        self._ledger = ThreadPoolExecutor(1, thread_name_prefix="watch-ledger")
        self._looking: Future[Stored] | None = None
        self._stored = Stored()
        self._state: tuple[str, float] = ("", 0.0)  # and since when it is in it
        self._turn = threading.Lock()  # samples, stored, state
        self._stop = threading.Event()
        self._asked = threading.Event()
        self._asked_at = float("-inf")
        self._latest: Published | None = None
        self._listeners: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; listeners are let go."""
        self._stop.set()
        self._asked.set()
        self._wake()
        self._thread.join(5.0)
        self._ledger.shutdown(wait=False, cancel_futures=True)

    def now(self) -> Snapshot:
        """A snapshot of this moment. Waits for the ledger, but not for one that does not answer within seconds."""
        self._asked_at = time.monotonic()
        self._asked.set()
        with self._turn:
            self._read_ledger(wait=2.0)
            return self._compute()

    async def listen(self) -> AsyncIterator[Published]:
        """Snapshots as they come, until `stop`; those that come while the caller is busy are skipped."""
        mine = (asyncio.get_running_loop(), asyncio.Event())
        seen = self._latest.number if self._latest is not None else 0  # that may be from when somebody listened last
        self._listeners.add(mine)
        self._asked.set()
        try:
            while not self._stop.is_set():
                latest = self._latest
                if latest is not None and latest.number > seen:
                    seen = latest.number
                    yield latest
                    continue
                await mine[1].wait()
                mine[1].clear()
        finally:
            self._listeners.discard(mine)

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            self._asked.clear()  # before it is looked who asks: who does so from here on ends the rest below
            wanted = bool(self._listeners) or time.monotonic() - self._asked_at < _INTEREST_SECONDS
            try:
                with self._turn:
                    self._samples.add(taken(self._pipeline.metrics))
                    self._note_state()
                    if self._listeners:
                        self._read_ledger(wait=0.5)
                        number += 1
                        self._latest = Published(number, self._compute())
                self._wake()
            except Exception:  # what is shown must never end what is watched
                log.exception("the status cannot be computed")
            if wanted:
                self._stop.wait(_LOOK_SECONDS)
            else:
                self._asked.wait(_REST_SECONDS)

    def _wake(self) -> None:
        for loop, event in tuple(self._listeners):
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:  # its loop is closed, and the listener gone with it
                self._listeners.discard((loop, event))

    def _read_ledger(self, wait: float) -> None:
        """Take what the ledger says if it says it in time, and ask again; else what it said last, with the reason."""
        late = self._looking
        try:
            if late is not None:  # asked before, and not answered in time: what it says may be old by now
                late.exception(wait)
            self._looking = self._ledger.submit(partial(stored, self._pipeline))
            self._stored = self._looking.result(wait)
            self._looking = None
        except TimeoutError:
            self._stale("the ledger's database did not answer yet")
        except StreamInferError as error:
            self._looking = None
            self._stale(str(error))

    def _stale(self, why: str) -> None:
        old = self._stored
        self._stored = Stored(old.status, old.splits, old.rejects, why)

    def _note_state(self) -> Mapping[str, Any]:
        """What the instance says of itself, and since when its state is that one: nobody else remembers."""
        live = self._pipeline.live()
        if live["state"] != self._state[0]:
            self._state = (live["state"], time.time())
        return {**live, "since": self._state[1]}

    def _compute(self) -> Snapshot:
        pipeline = self._pipeline
        if not self._samples:
            self._samples.add(taken(pipeline.metrics))
        live, window, history = self._note_state(), self._samples.window(), self._samples.history()
        snapshot = assemble(pipeline.settings, live, self._stored, window, history, time.time())
        return snapshot.model_copy(update={"findings": doctor.examine(snapshot)})


def stored(pipeline: Pipeline) -> Stored:
    """What the ledger says now.

    Raises:
        Retryable: its database did not answer.
    """
    ledger = pipeline.ledger()
    rejects = [item.to_dict() for item in pipeline.rejects(limit=_SHOWN_REJECTS, newest=True)]
    return Stored(ledger.status(), ledger.recent(_SHOWN_SPLITS), rejects)


def without_service(pipeline: Pipeline, silent: str | None = None) -> Snapshot:
    """The snapshot of a pipeline that does not run: what its ledger knows.

    Args:
        silent: why a service that is there is not asked.
    """
    live = {"state": "silent" if silent else "not running", "ready": False, "trouble": silent}
    snapshot = assemble(pipeline.settings, live, stored(pipeline), None, [], time.time())
    return snapshot.model_copy(update={"findings": doctor.examine(snapshot)})
