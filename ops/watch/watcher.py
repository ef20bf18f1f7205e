"""The watcher: computes the snapshot once a second, for all listeners."""

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
from stream_infer.ops.watch.samples import Samples, sample_now
from stream_infer.ops.watch.snapshot import Snapshot
from stream_infer.pipeline import Pipeline

log = logging.getLogger(__name__)
_ACTIVE_SECONDS = 1.0  # between snapshots while there are listeners
_REST_SECONDS = 5.0  # between samples without listeners: rates need earlier samples
_INTEREST_SECONDS = 10.0  # how long one request counts as a listener
_RECENT_SPLITS, _RECENT_REJECTS = 12, 8


@dataclass(frozen=True)
class Published:
    """A snapshot for all listeners; its JSON is made once."""

    number: int
    snapshot: Snapshot

    @cached_property
    def json(self) -> str:
        return self.snapshot.model_dump_json()


class Watcher:
    """A thread that samples the metrics and, while there are listeners, reads the ledger and publishes snapshots.

    A listener gets the newest snapshot each time it asks for one: nothing is queued, so a slow listener costs nothing. While
    the ledger does not answer, its last answer is shown, and snapshots still come in time.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._samples = Samples()
        self._ledger = ThreadPoolExecutor(1, thread_name_prefix="watch-ledger")
        self._reading: Future[Stored] | None = None
        self._stored = Stored()
        self._state: tuple[str, float] = ("", 0.0)  # the state and when it began
        self._lock = threading.Lock()  # of samples, stored and state
        self._stop = threading.Event()
        self._asked = threading.Event()
        self._asked_at = float("-inf")
        self._latest: Published | None = None
        self._listeners: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread and release the listeners."""
        self._stop.set()
        self._asked.set()
        self._wake()
        self._thread.join(5.0)
        self._ledger.shutdown(wait=False, cancel_futures=True)

    def now(self) -> Snapshot:
        """A snapshot of this moment. Waits some seconds for the ledger, then shows its last answer."""
        self._asked_at = time.monotonic()
        self._asked.set()
        with self._lock:
            self._read_ledger(wait=2.0)
            return self._compute()

    async def listen(self) -> AsyncIterator[Published]:
        """Snapshots as they are published, until `stop`; those published while the caller is busy are skipped."""
        mine = (asyncio.get_running_loop(), asyncio.Event())
        seen = self._latest.number if self._latest is not None else 0  # an older one may be from an earlier listener
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
            self._asked.clear()  # first: a request from here on ends the wait below
            wanted = bool(self._listeners) or time.monotonic() - self._asked_at < _INTEREST_SECONDS
            try:
                with self._lock:
                    self._samples.add(sample_now(self._pipeline.metrics))
                    self._note_state()
                    if self._listeners:
                        self._read_ledger(wait=0.5)
                        number += 1
                        self._latest = Published(number, self._compute())
                self._wake()
            except Exception:  # an error in the status must not end the service
                log.exception("the status cannot be computed")
            if wanted:
                self._stop.wait(_ACTIVE_SECONDS)
            else:
                self._asked.wait(_REST_SECONDS)

    def _wake(self) -> None:
        for loop, event in tuple(self._listeners):
            try:
                loop.call_soon_threadsafe(event.set)
            except RuntimeError:  # its loop is closed, so nobody listens there any more
                self._listeners.discard((loop, event))

    def _read_ledger(self, wait: float) -> None:
        """Read the ledger; if it does not answer in time, keep its last answer and note the reason."""
        unanswered = self._reading
        try:
            if unanswered is not None:  # asked before, and not answered in time: that answer may be old by now
                unanswered.exception(wait)
            self._reading = self._ledger.submit(partial(stored, self._pipeline))
            self._stored = self._reading.result(wait)
            self._reading = None
        except TimeoutError:
            self._keep_last_answer("the ledger's database did not answer yet")
        except StreamInferError as error:
            self._reading = None
            self._keep_last_answer(str(error))

    def _keep_last_answer(self, trouble: str) -> None:
        old = self._stored
        self._stored = Stored(old.status, old.splits, old.rejects, trouble)

    def _note_state(self) -> Mapping[str, Any]:
        """The live state, and when it began, which only the watcher remembers."""
        live = self._pipeline.live()
        if live["state"] != self._state[0]:
            self._state = (live["state"], time.time())
        return {**live, "since": self._state[1]}

    def _compute(self) -> Snapshot:
        pipeline = self._pipeline
        if not self._samples:
            self._samples.add(sample_now(pipeline.metrics))
        live, window, history = self._note_state(), self._samples.window(), self._samples.history()
        snapshot = assemble(pipeline.settings, live, self._stored, window, history, time.time())
        return snapshot.model_copy(update={"findings": doctor.examine(snapshot)})


def stored(pipeline: Pipeline) -> Stored:
    """The ledger's answer now.

    Raises:
        Retryable: its database did not answer.
    """
    ledger = pipeline.ledger()
    rejects = [item.to_dict() for item in pipeline.rejects(limit=_RECENT_REJECTS, newest=True)]
    return Stored(ledger.status(), ledger.recent(_RECENT_SPLITS), rejects)


def without_service(pipeline: Pipeline, silence: str | None = None) -> Snapshot:
    """The snapshot of a pipeline that does not run, from its ledger.

    Args:
        silence: why a service that exists gave no answer.
    """
    live = {"state": "silent" if silence else "not running", "ready": False, "trouble": silence}
    snapshot = assemble(pipeline.settings, live, stored(pipeline), None, [], time.time())
    return snapshot.model_copy(update={"findings": doctor.examine(snapshot)})
