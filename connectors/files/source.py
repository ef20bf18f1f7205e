"""The files source: cuts the objects of a bucket or a folder into splits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from stream_infer import config
from stream_infer.connectors.files.after import after_action
from stream_infer.connectors.files.counting import count_apart
from stream_infer.connectors.files.events import ObjectEvent
from stream_infer.connectors.files.listing import Candidates
from stream_infer.connectors.files.queues import EventQueue, open_queue
from stream_infer.connectors.files.reader import FilesReader
from stream_infer.connectors.files.settings import FilesSettings
from stream_infer.connectors.storage.opening import open_store
from stream_infer.connectors.storage.store import Item, Store, possible
from stream_infer.contracts import Lag, ObjectVersion, PartitionStatus, PlanBudget, Planned, Position
from stream_infer.decode.decoder import Decoder
from stream_infer.intervals import END, Intervals, IntervalSet, cut
from stream_infer.splits import Reject, Split

_SLICE = 0.25  # seconds: how long `wake` may go unnoticed while an event queue is asked (SQS: a second)
_HEADS = 16


class FilesSource:
    """Implements `contracts.Source`. The identity of an object is its bucket, key and version (ETag)."""

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
        self._ripe_at = float("inf")  # monotonic: when the group that waits for company is to be planned alone

    @classmethod
    def from_config(cls, settings: FilesSettings, *, pipeline: str, limits: config.Limits) -> FilesSource:
        """The source of the settings; asks the store with its first plan."""
        store = open_store(settings.url, settings.storage)
        events = settings.discover.events
        queue = open_queue(events, pipeline, settings.storage) if events is not None else None
        return cls(settings, store, FilesReader(store, Decoder(settings.format, limits)), queue)

    def plan(self, position: Position, budget: PlanBudget) -> Iterator[Planned]:
        """See `contracts.Source.plan`."""
        if self._queue is not None:
            self._events += self._queue.poll(0.0)  # opens the queue before the first listing, so nothing falls between
            self._take_events(position, budget.now)
        self._candidates.look(position, budget.now, budget.records)
        self._candidates.put_back(budget.now)
        self._ripe_at = float("inf")
        for group in self._groups(budget) if budget.splits else ():
            yield self._step(group, budget)
            for item in group:
                self._candidates.planned(self._candidates.identity(item))
        if self._queue is not None and not self._candidates.waiting:
            self._queue.planned()

    def wait(self, timeout: float) -> None:
        """See `contracts.Source.wait`."""
        now = time.monotonic()
        until = min(now + timeout, now + self._candidates.until_next_walk(), max(now, self._ripe_at))
        if self._queue is None:
            self._woken.wait(until - now)
        else:
            while (left := until - time.monotonic()) > 0 and not self._events and not self._woken.is_set():
                self._events += self._queue.poll(min(_SLICE, left))
        self._woken.clear()

    def wake(self) -> None:
        self._woken.set()

    def lag(self, position: Position) -> Lag:
        """See `contracts.Source.lag`. A listing that is not through counts as unsettled."""
        items = [item for item, _since in self._candidates.waiting.values()]
        return Lag(
            records=len(items),
            bytes=sum(item.size for item in items),
            oldest=min((item.modified for item in items), default=None),
            unsettled=len(self._candidates.resting) + self._candidates.walking,
            objects=len(items),
        )

    def places(self, prefix: Mapping[str, int]) -> Sequence[PartitionStatus]:
        """See `contracts.Source.places`: a folder has none."""
        return ()

    def attributes(self, split: Split) -> Mapping[str, str | int]:
        """See `contracts.Source.attributes`."""
        objects = split.bounds["objects"]
        found: dict[str, str | int] = {"stream_infer.objects": len(objects)}
        if self._store.scheme == "s3":
            found |= {"aws.s3.bucket": self._store.bucket, "aws.s3.key": objects[0]["key"]}
        return found

    def reader(self) -> FilesReader:
        return self._reader

    def bisect(self, split: Split) -> tuple[Split, Split] | None:
        """See `contracts.Source.bisect`. An object of many rows is read once more, to learn how many."""
        objects = split.bounds["objects"]
        if len(objects) > 1:
            middle = len(objects) // 2
            return self._part(split, objects[:middle]), self._part(split, objects[middle:])
        if self._reader.one_record(objects[0]["key"]):
            return None
        start, stop = split.bounds.get("rows") or (0, count_apart(self._reader, objects[0]))
        if stop - start < 2:
            return None
        middle = (start + stop) // 2
        left, right = (
            split.child({"objects": objects, "rows": [low, high]}, records=high - low, bytes=split.bytes)
            for low, high in ((start, middle), (middle, stop))
        )
        return left, right

    def record_ids(self, split: Split) -> Iterator[str]:
        start, stop = split.bounds.get("rows") or (0, 1)
        for item in split.bounds["objects"]:
            for row in range(start, stop):
                yield self._reader.record_id(item, row)

    def replay(self, split: Split, reject: Reject, number: int) -> Split:
        """See `contracts.Source.replay`. A reject of the whole object is read as its split read it."""
        row = int(reject.record_id.rpartition("#")[2])
        item = next(it for it in split.bounds["objects"] if self._reader.record_id(it, row) == reject.record_id)
        bounds: dict[str, Any] = {"objects": [item], "replay": number}
        if not reject.whole and not self._reader.one_record(item["key"]):
            bounds["rows"] = [row, row + 1]
        elif "rows" in split.bounds:
            bounds["rows"] = split.bounds["rows"]
        fixed = {"folder": split.folder, "lane": split.lane, "planned_at": time.time(), "parent": split.split_id}
        return Split.of(self.name, bounds, records=1, bytes=item["size"], **fixed)

    def intervals(self, split: Split) -> Intervals:
        """See `contracts.Source.extent`."""
        start, stop = split.bounds.get("rows") or (0, END)
        return {self._identity(item): (start, stop) for item in split.bounds["objects"]}

    def restore(self, splits: Sequence[Split], most: int) -> Iterator[Planned]:
        """See `contracts.Source.restore`. An object that no split names is found again by listing."""
        cover, in_rows = IntervalSet(), dict[str, tuple[Any, Split]]()
        for split in splits:
            yield Planned(split, objects=self._claims(split.bounds["objects"]))
            cover.add(self.intervals(split))
            if "rows" in split.bounds:
                in_rows.update({self._identity(item): (item, split) for item in split.bounds["objects"]})
        for identity, (item, split) in in_rows.items():
            last = cover.bounds(identity)[1]
            if last == END:  # some split had the whole object
                continue
            count = self._reader.count_rows(item)
            # an object that is gone counts one row: what came behind is then named as lost by its first
            stop = count if count >= last else last + 1
            for low, high in (part for hole in cover.holes(identity, 0, stop) for part in cut(hole, most)):
                bounds = {"objects": [item], "rows": [low, high]}
                fixed = {"folder": split.folder, "lane": self._settings.lane, "planned_at": time.time()}
                between = Split.of(self.name, bounds, records=high - low, bytes=item["size"], **fixed)
                yield Planned(between, objects=self._claims([item]))

    def _identity(self, item: Mapping[str, Any]) -> str:
        return self._candidates.identity(Item(item["key"], item["size"], item["modified"], item["version"]))

    def _claims(self, objects: Sequence[Mapping[str, Any]]) -> tuple[ObjectVersion, ...]:
        return tuple(ObjectVersion(self._identity(item), item["size"], item["modified"]) for item in objects)

    def committed(self, splits: Sequence[Split], prefix: Mapping[str, int]) -> None:
        """``after: delete | move`` for exactly the versions that were committed."""
        if self._after is None:
            return
        items = [(item["key"], item["version"]) for split in splits for item in split.bounds["objects"]]
        with ThreadPoolExecutor(_HEADS, thread_name_prefix="after") as pool:
            for _ in pool.map(self._after, items):
                pass

    def close(self) -> None:
        if self._queue is not None:
            self._queue.close()

    def _take_events(self, position: Position, now: float) -> None:
        """Ask the store about each event's object: its answer, not the event's, is the truth."""
        events = [event for event in self._events if event.bucket == self._store.bucket]
        with ThreadPoolExecutor(_HEADS, thread_name_prefix="heads") as pool:
            found = [item for item in pool.map(self._head, events) if item is not None] if events else []
        self._candidates.add(found, position, now)
        self._events = []

    def _head(self, event: ObjectEvent) -> Item | None:
        asked = filter(possible, event.keys)
        return next((item for key in asked if (item := self._store.head(key)) is not None), None)

    def _groups(self, budget: PlanBudget) -> Iterator[list[Item]]:
        waiting = sorted(self._candidates.waiting.values(), key=lambda entry: (entry[0].modified, entry[0].key))
        if budget.date_by == "event":
            waiting.sort(key=lambda entry: _date(entry[0].modified))
        most_bytes = min(budget.bytes, int(budget.records * budget.record_bytes))
        group: list[Item] = []
        size, first_seen, given = 0, budget.now, 0
        for item, since in waiting:
            single = self._reader.one_record(item.key)
            full = len(group) >= budget.records or size + item.size > (budget.bytes if single else most_bytes)
            apart = budget.date_by == "event" and group and _date(group[0].modified) != _date(item.modified)
            if group and (full or apart):
                yield group
                given += 1
                group, size, first_seen = [], 0, budget.now
                if given == budget.splits:
                    return
            group.append(item)
            size += item.size
            first_seen = min(first_seen, since)
        missing = budget.freshness - (budget.now - first_seen)
        if group and not self._candidates.walking and missing <= 0:
            yield group
        elif group:
            self._ripe_at = time.monotonic() + max(0.0, missing)

    def _step(self, group: Sequence[Item], budget: PlanBudget) -> Planned:
        oldest = min(item.modified for item in group)
        split = Split.of(
            self.name,
            {"objects": [_described(item) for item in group]},
            folder=f"date={_date(oldest if budget.date_by == 'event' else budget.now)}",
            records=len(group),
            bytes=sum(item.size for item in group),
            lane=self._settings.lane,
            planned_at=budget.now,
            event_at=oldest,
        )
        claims = tuple(ObjectVersion(self._candidates.identity(item), item.size, item.modified) for item in group)
        return Planned(split, objects=claims)

    def _part(self, split: Split, objects: Sequence[dict[str, Any]]) -> Split:
        size = sum(item["size"] for item in objects)
        return split.child({"objects": list(objects)}, records=len(objects), bytes=size)


def _described(item: Item) -> dict[str, Any]:
    return {"key": item.key, "version": item.version, "size": item.size, "modified": item.modified}


def _date(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d}"
