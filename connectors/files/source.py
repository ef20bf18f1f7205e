"""The files source: groups the objects of a bucket or a folder into splits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from stream_infer import config
from stream_infer.bounds import ObjectRef, ObjectSet, intervals
from stream_infer.connectors.files.after import after_action
from stream_infer.connectors.files.events import ObjectEvent
from stream_infer.connectors.files.listing import Candidates
from stream_infer.connectors.files.queues import EventQueue, open_queue
from stream_infer.connectors.files.reader import FilesReader, objects_of
from stream_infer.connectors.files.settings import FilesSettings
from stream_infer.connectors.storage.opening import open_store
from stream_infer.connectors.storage.store import Item, Store, possible
from stream_infer.contracts import Lag, ObjectVersion, PlanBudget, Planned, Position, SourceStatus
from stream_infer.decode.decoder import Decoder
from stream_infer.intervals import END, IntervalSet, cut
from stream_infer.splits import Split

_SLICE = 0.25  # longest poll of an event queue, in seconds (SQS: 1), after which `wake` has its effect
_HEADS = 16


class FilesSource:
    """Implements `contracts.Source` and `contracts.Restorable`. The identity of an object is its bucket, key and version (ETag)."""

    def __init__(self, settings: FilesSettings, store: Store, reader: FilesReader, queue: EventQueue | None) -> None:
        self.name = settings.name
        self._settings = settings
        self._store = store
        self._reader = reader
        self._queue = queue
        self._after = after_action(settings, store)
        self._candidates = Candidates(store, settings)
        self._events: list[ObjectEvent] = []
        self._woken = threading.Event()
        self._due_at = float("inf")  # monotonic time at which a group that is not full is planned anyway

    @classmethod
    def from_config(cls, settings: FilesSettings, *, pipeline: str, limits: config.Limits) -> FilesSource:
        """The source of the settings, which connects to the store at its first plan."""
        store = open_store(settings.url, settings.storage)
        events = settings.discover.events
        queue = open_queue(events, pipeline, settings.storage) if events is not None else None
        return cls(settings, store, FilesReader(store, Decoder(settings.format, limits)), queue)

    def plan(self, position: Position, budget: PlanBudget) -> Iterator[Planned]:
        """See `contracts.Source.plan`."""
        if self._queue is not None:
            self._events += self._queue.poll(
                0.0
            )  # opens the queue before the first listing, so that no object is missed in between
            self._take_events(position, budget.now)
        self._candidates.look(position, budget.now, budget.records)
        self._candidates.correct_clock(budget.now)
        self._due_at = float("inf")
        for group in self._groups(budget) if budget.splits else ():
            yield self._planned(group, budget)
            for item in group:
                self._candidates.planned(self._candidates.identity(item))
        if self._queue is not None and not self._candidates.waiting:
            self._queue.planned()

    def wait(self, timeout: float) -> None:
        """See `contracts.Source.wait`."""
        now = time.monotonic()
        until = min(now + timeout, now + self._candidates.until_next_walk(), max(now, self._due_at))
        if self._queue is None:
            self._woken.wait(until - now)
        else:
            while (left := until - time.monotonic()) > 0 and not self._events and not self._woken.is_set():
                self._events += self._queue.poll(min(_SLICE, left))
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()

    def status(self, committed_offsets: Mapping[str, int]) -> SourceStatus:
        """See `contracts.Source.status`. A listing under way counts as unsettled."""
        items = [item for item, _since in self._candidates.waiting.values()]
        lag = Lag(
            records=len(items),
            bytes=sum(item.size for item in items),
            oldest=min((item.modified for item in items), default=None),
            unsettled=len(self._candidates.resting) + self._candidates.walking,
            objects=len(items),
        )
        attributes = {"aws.s3.bucket": self._store.bucket} if self._store.scheme == "s3" else {}
        return SourceStatus(lag, attributes=attributes)

    def reader(self) -> FilesReader:
        return self._reader

    def restore(self, splits: Sequence[Split], most: int) -> Iterator[Planned]:
        """See `contracts.Restorable.restore`. A later listing finds the objects that no split names."""
        planned, in_rows = IntervalSet(), dict[str, tuple[ObjectRef, Split]]()
        for split in splits:
            bounds = objects_of(split)
            yield Planned(split, objects=self._claims(bounds.objects))
            planned.add(intervals(bounds))
            if bounds.rows is not None:
                in_rows.update({item.path: (item, split) for item in bounds.objects})
        for path, (item, split) in in_rows.items():
            last = planned.bounds(path)[1]
            if last == END:  # a split has the whole object
                continue
            count = 1 if self._reader.one_record(item.key) else self._reader.count_rows(item)
            # a deleted object counts as one row; the loss that is reported at the first missing row stands for all missing rows
            stop = count if count >= last else last + 1
            for low, high in (part for hole in planned.holes(path, 0, stop) for part in cut(hole, most)):
                fixed = {"folder": split.folder, "lane": self._settings.lane, "planned_at": time.time()}
                rows = ObjectSet((item,), (low, high))
                between = Split.of(self.name, rows, records=high - low, bytes=item.size, **fixed)
                yield Planned(between, objects=self._claims([item]))

    def committed(self, splits: Sequence[Split], committed_offsets: Mapping[str, int]) -> None:
        """Apply the setting ``after`` to exactly the committed versions."""
        if self._after is None:
            return
        items = [(item.key, item.version) for split in splits for item in objects_of(split).objects]
        with ThreadPoolExecutor(_HEADS, thread_name_prefix="after") as pool:
            for _ in pool.map(self._after, items):
                pass

    def close(self) -> None:
        if self._queue is not None:
            self._queue.close()

    def _take_events(self, position: Position, now: float) -> None:
        """Turn events into candidates. Size and version come from the store, because an event is only a hint."""
        events = [event for event in self._events if event.bucket == self._store.bucket]
        with ThreadPoolExecutor(_HEADS, thread_name_prefix="heads") as pool:
            items = [item for item in pool.map(self._head, events) if item is not None] if events else []
        self._candidates.add(items, position, now)
        self._events = []

    def _head(self, event: ObjectEvent) -> Item | None:
        keys = filter(possible, event.keys)
        return next((item for key in keys if (item := self._store.head(key)) is not None), None)

    def _groups(self, budget: PlanBudget) -> Iterator[list[Item]]:
        waiting = sorted(self._candidates.waiting.values(), key=lambda entry: (entry[0].modified, entry[0].key))
        if budget.date_by == "event":
            waiting.sort(key=lambda entry: _date(entry[0].modified))
        most_bytes = min(budget.bytes, int(budget.records * budget.record_bytes))
        group: list[Item] = []
        size, first_seen, yielded = 0, budget.now, 0
        for item, since in waiting:
            single = self._reader.one_record(item.key)
            full = len(group) >= budget.records or size + item.size > (budget.bytes if single else most_bytes)
            apart = budget.date_by == "event" and group and _date(group[0].modified) != _date(item.modified)
            if group and (full or apart):
                yield group
                yielded += 1
                group, size, first_seen = [], 0, budget.now
                if yielded == budget.splits:
                    return
            group.append(item)
            size += item.size
            first_seen = min(first_seen, since)
        missing = budget.freshness - (budget.now - first_seen)
        if group and not self._candidates.walking and missing <= 0:
            yield group
        elif group:
            self._due_at = time.monotonic() + max(0.0, missing)

    def _planned(self, group: Sequence[Item], budget: PlanBudget) -> Planned:
        objects = tuple(ObjectRef(item.key, item.version, item.size, item.modified) for item in group)
        oldest = min(item.modified for item in group)
        split = Split.of(
            self.name,
            ObjectSet(objects),
            folder=f"date={_date(oldest if budget.date_by == 'event' else budget.now)}",
            records=len(group),
            bytes=sum(item.size for item in group),
            lane=self._settings.lane,
            planned_at=budget.now,
            event_at=oldest,
        )
        return Planned(split, objects=self._claims(objects))

    def _claims(self, objects: Sequence[ObjectRef]) -> tuple[ObjectVersion, ...]:
        location = self._reader.location
        return tuple(ObjectVersion(f"{location}/{item.path}", item.size, item.modified) for item in objects)


def _date(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d}"
