"""The bounds of a split: a range of one log, or some objects. Whoever asks what a split holds asks here.

A split carries its bounds as the JSON document that stands in ledgers and receipts. `parse` types it; `to_json` is the
inverse, to the key: a split's identity is a digest of the document, so a document never changes its form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from stream_infer.intervals import END, Intervals
from stream_infer.records import object_path

JSON = Mapping[str, Any]
_RANGE = frozenset({"log", "position_key", "start", "stop", "replay"})


@dataclass(frozen=True, slots=True)
class LogRange:
    """Offsets ``[start, stop)`` of one log.

    Attributes:
        log: URL of the log, such as ``kafka://CLUSTER/TOPIC/PARTITION``. A record's coordinate is ``LOG/OFFSET``.
        pin: what else the source's reader must know to read this log and no other, such as a topic's id.
        position_key: key of the log in the source's positions; the log itself unless given.
        replay: which replay of a rejected record it is, from 1; 0 for planned work.
    """

    log: str
    start: int
    stop: int
    pin: JSON = field(default_factory=dict)
    position_key: str = ""
    replay: int = 0

    def __post_init__(self) -> None:
        if not self.position_key:
            object.__setattr__(self, "position_key", self.log)

    def record_id(self, offset: int) -> str:
        """The coordinate of one offset."""
        return f"{self.log}/{offset}"

    def to_json(self) -> dict[str, Any]:
        """The JSON document; a log that follows from the other keys is left out, as it always was."""
        document = {**self.pin, "position_key": self.position_key, "start": self.start, "stop": self.stop}
        if self.log != _log_of(document):
            document["log"] = self.log
        return document | ({"replay": self.replay} if self.replay else {})


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One version of one object.

    Attributes:
        modified: seconds since the epoch.
    """

    key: str
    version: str
    size: int
    modified: float

    @property
    def path(self) -> str:
        """Key and version, as coordinates write them; different for any two versions or keys of a bucket."""
        return object_path(self.key, self.version)


@dataclass(frozen=True, slots=True)
class ObjectSet:
    """Some objects of one bucket or folder, or some rows of one object.

    Attributes:
        rows: rows ``[start, stop)`` of each object; None for all.
        replay: which replay of a rejected record it is, from 1; 0 for planned work.
    """

    objects: tuple[ObjectRef, ...]
    rows: tuple[int, int] | None = None
    replay: int = 0

    def to_json(self) -> dict[str, Any]:
        """The JSON document."""
        document: dict[str, Any] = {"objects": [asdict(item) for item in self.objects]}
        if self.rows is not None:
            document["rows"] = list(self.rows)
        return document | ({"replay": self.replay} if self.replay else {})


Bounds = LogRange | ObjectSet


def parse(document: JSON) -> Bounds:
    """The bounds of a JSON document, of this version or one before.

    Raises:
        ValueError: the document holds neither a range of a log nor objects.
    """
    if "objects" in document:
        rows = document.get("rows")
        objects = tuple(ObjectRef(**item) for item in document["objects"])
        return ObjectSet(objects, (rows[0], rows[1]) if rows else None, replay_of(document))
    bounds = log_range(document)
    if bounds is None:
        raise ValueError(f"bounds hold neither a range of a log nor objects: {dict(document)}")
    return bounds


def log_range(document: JSON) -> LogRange | None:
    """The range of a log that a JSON document holds; None where it holds something else."""
    if "start" not in document or "stop" not in document:
        return None
    log = document["log"] if "log" in document else _log_of(document)
    pin = {name: value for name, value in document.items() if name not in _RANGE}
    position_key = document.get("position_key", "")
    return LogRange(log, document["start"], document["stop"], pin, position_key, replay_of(document))


def replay_of(document: JSON) -> int:
    """Which replay of a rejected record a JSON document holds, from 1; 0 for planned work."""
    return int(document.get("replay", 0))


def halves(bounds: Bounds, rows: int | None = None) -> tuple[Bounds, Bounds] | None:
    """Two halves that together hold what the bounds hold; None where they hold one record.

    Args:
        rows: how many rows a single object has. Unless it is given, a whole object is not divided.
    """
    if isinstance(bounds, ObjectSet) and len(bounds.objects) > 1:
        middle = len(bounds.objects) // 2
        first, second = bounds.objects[:middle], bounds.objects[middle:]
        return replace(bounds, objects=first), replace(bounds, objects=second)
    if isinstance(bounds, LogRange):
        start, stop = bounds.start, bounds.stop
    else:
        start, stop = bounds.rows or (0, rows or 1)
    if stop - start < 2:
        return None
    middle = (start + stop) // 2
    if isinstance(bounds, LogRange):
        return replace(bounds, stop=middle), replace(bounds, start=middle)
    return replace(bounds, rows=(start, middle)), replace(bounds, rows=(middle, stop))


def intervals(bounds: Bounds) -> Intervals:
    """What the bounds hold as ranges by key: offsets of a log, rows of an object.

    Bounds of one source that have no record in common have ranges that have nothing in common.
    """
    if isinstance(bounds, LogRange):
        return {bounds.position_key: (bounds.start, bounds.stop)}
    return {item.path: bounds.rows or (0, END) for item in bounds.objects}


def record_count(bounds: Bounds) -> int:
    """How many records the bounds hold; an object whose rows nobody has counted is one."""
    if isinstance(bounds, LogRange):
        return bounds.stop - bounds.start
    start, stop = bounds.rows or (0, 1)
    return len(bounds.objects) * (stop - start)


def record_ids(bounds: Bounds, location: str = "") -> Iterator[str]:
    """Yield the coordinate of each record; of a whole object that of its first row.

    Args:
        location: ``SCHEME://BUCKET`` of the objects; of no use for a log.
    """
    if isinstance(bounds, LogRange):
        for offset in range(bounds.start, bounds.stop):
            yield bounds.record_id(offset)
        return
    for item in bounds.objects:
        for row in range(*(bounds.rows or (0, 1))):
            yield f"{location}/{item.path}#{row}"


def object_of(bounds: ObjectSet, record_id: str) -> tuple[ObjectRef, int]:
    """The object among the bounds' that a record is of, and the record's row in it.

    Raises:
        ValueError: none of the objects holds the record.
    """
    path, _, row = record_id.partition("://")[2].partition("/")[2].rpartition("#")
    for item in bounds.objects:
        if item.path == path:
            return item, int(row)
    raise ValueError(f"{record_id} is of none of the split's objects")


def single(bounds: Bounds, record_id: str, whole: bool = False) -> Bounds:
    """The bounds of one record.

    Args:
        whole: the record stands for everything that the bounds hold of its object.

    Raises:
        ValueError: the bounds do not hold the record.
    """
    if isinstance(bounds, LogRange):
        offset = int(record_id.rpartition("/")[2])
        return replace(bounds, start=offset, stop=offset + 1)
    item, row = object_of(bounds, record_id)
    return replace(bounds, objects=(item,), rows=bounds.rows if whole else (row, row + 1))


def in_words(bounds: Bounds) -> str:
    """The bounds for a person: ``tickets/0 1,000 … 1,999``, ``a.txt and 31 more``."""
    if isinstance(bounds, LogRange):
        return f"{bounds.position_key} {bounds.start:,} … {bounds.stop - 1:,}"
    if not bounds.objects:
        return "no object"
    first = bounds.objects[0].key
    if bounds.rows is not None:
        return f"{first} rows {bounds.rows[0]:,} … {bounds.rows[1] - 1:,}"
    return first if len(bounds.objects) < 2 else f"{first} and {len(bounds.objects) - 1} more"


def _log_of(document: JSON) -> str:
    """The log of a document that does not name it: a Kafka partition, or else the position key."""
    if {"cluster", "topic", "partition"} <= document.keys():
        return f"kafka://{document['cluster']}/{document['topic']}/{document['partition']}"
    return str(document.get("position_key", ""))
