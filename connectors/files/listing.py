"""The candidates: objects of the folder, from listings and events, that are not planned yet."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Iterator
from itertools import islice

from stream_infer.connectors.files.after import archive_prefix
from stream_infer.connectors.files.settings import FilesSettings
from stream_infer.connectors.storage.store import Item, Store
from stream_infer.contracts import Position
from stream_infer.records import ObjectCoordinate

_PAGE = 5000  # keys of a listing in one plan
_ENOUGH = 50_000  # waiting objects at which a listing pauses, so that a large bucket is never in memory as a whole
_REMEMBERED = 1_000_000  # planned objects in memory, which save the queries of the ledger at every listing


class Candidates:
    """Objects that are listed or notified and not planned, by identity, in the order of their arrival.

    Attributes:
        waiting: (object, time of its arrival) by identity.
        resting: (object, time when this version was first seen) by key: local files that may still be written to.
    """

    def __init__(self, store: Store, settings: FilesSettings) -> None:
        self._store = store
        self._discover = settings.discover
        self._matches = glob_pattern(settings.glob).fullmatch if settings.glob else None
        self._archive = archive_prefix(settings, store)
        self._prefix = f"{store.root}/" if store.root else ""
        self._settle = settings.discover.settle if store.scheme == "file" else 0.0
        self._interval = settings.discover.backfill if settings.discover.events else settings.discover.poll
        self._walk: Iterator[Item] | None = None
        self._next_walk = float("-inf")
        self._unlisted: set[str] = set()  # keys that were resting before this listing and are not listed so far
        self._planned_digests: dict[bytes, None] = {}
        self.waiting: dict[str, tuple[Item, float]] = {}
        self.resting: dict[str, tuple[Item, float]] = {}

    @property
    def walking(self) -> bool:
        """Whether a listing is under way."""
        return self._walk is not None

    def until_next_walk(self) -> float:
        """Seconds until a listing is due; 0 while one is under way."""
        if self._walk is not None:
            return 0.0
        due = self._next_walk - time.monotonic()
        return max(0.0, min(due, self._settle or due) if self.resting else due)

    def look(self, position: Position, now: float, needed: int) -> None:
        """Continue the listing, or begin one if it is due. Raises Retryable.

        Args:
            needed: most objects of one split; with twice as many waiting there is a full split to plan, and no listing is needed.
        """
        if len(self.waiting) >= max(_ENOUGH, 2 * needed):
            return
        if self._walk is None:
            if self.until_next_walk() > 0:
                return
            self._walk = self._store.list(self._prefix)
            self._unlisted = set(self.resting)
        try:
            page = list(islice(self._walk, _PAGE))
        except BaseException:
            self._walk = None
            raise
        self._unlisted.difference_update(item.key for item in page)
        if len(page) < _PAGE:
            self._walk = None
            self._next_walk = time.monotonic() + self._interval
            for key in self._unlisted:
                self.resting.pop(key, None)
        self.add(page, position, now)

    def add(self, items: Iterable[Item], position: Position, now: float) -> None:
        """Add those of the objects that are not planned yet."""
        fresh = {}
        for item in items:
            if not self._wanted(item.key):
                continue
            identity = self.identity(item)
            if (
                identity not in self.waiting
                and _digest(identity) not in self._planned_digests
                and self._rested(item, now)
            ):
                fresh[identity] = item
        unseen = position.unseen(list(fresh)) if fresh else set()
        for identity, item in fresh.items():
            if identity in unseen:
                self.waiting[identity] = (item, now)
            else:
                self._remember(identity)

    def correct_clock(self, now: float) -> None:
        """Replace times in the future by now: a clock that was set back must delay no object."""
        for group in (self.waiting, self.resting):
            group.update({name: (item, now) for name, (item, since) in group.items() if since > now})

    def planned(self, identity: str) -> None:
        """Note that the ledger has the object."""
        self.waiting.pop(identity, None)
        self._remember(identity)

    def identity(self, item: Item) -> str:
        """The coordinate of one version of an object, without a row."""
        return ObjectCoordinate(self._store.scheme, self._store.bucket, item.key, item.version).object_id

    def _wanted(self, key: str) -> bool:
        if not key.startswith(self._prefix) or key.endswith("/"):
            return False
        if self._archive is not None and key.startswith(self._archive):
            return False
        return self._matches is None or self._matches(key[len(self._prefix) :]) is not None

    def _rested(self, item: Item, now: float) -> bool:
        """Whether a local file is complete: it has not changed for a while. A renamed file keeps its old time."""
        if now - item.modified >= self._settle:
            self.resting.pop(item.key, None)
            return True
        before = self.resting.get(item.key)
        since = before[1] if before is not None and before[0].version == item.version else now
        if now - since >= self._settle:
            self.resting.pop(item.key, None)
            return True
        self.resting[item.key] = (item, since)
        return False

    def _remember(self, identity: str) -> None:
        self._planned_digests[_digest(identity)] = None
        if len(self._planned_digests) > _REMEMBERED:
            del self._planned_digests[next(iter(self._planned_digests))]


def glob_pattern(glob: str) -> re.Pattern[str]:
    """A shell pattern as a regular expression: ``**/`` matches folders, ``*`` and ``?`` match within one name."""
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(piece) or re.escape(piece) for piece in pieces), re.DOTALL)


def _digest(identity: str) -> bytes:
    return hashlib.blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=16).digest()
