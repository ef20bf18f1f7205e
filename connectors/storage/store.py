"""One small face for every place that holds objects: create-if-absent, pinned reads, plain listing.

Keys are absolute inside the bucket (for local files: the absolute path without its leading slash).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from stream_infer.errors import Lost
from stream_infer.records import Content

_LONGEST_KEY = 1024  # bytes, in S3, Google Cloud Storage and Azure


@dataclass(frozen=True, slots=True)
class Item:
    """One object as it stands now.

    Attributes:
        size: bytes.
        modified: seconds since the epoch.
        version: what pins a read: the ETag without quotes; for local files mtime in ns and size, both hexadecimal.
    """

    key: str
    size: int
    modified: float
    version: str


def possible(key: str) -> bool:
    """Whether an object can have that name. A store that is asked for what cannot be answers as if it had failed."""
    return "\0" not in key and 0 < len(key.encode("utf-8", "surrogatepass")) <= _LONGEST_KEY


class Store(Protocol):
    """A bucket (or the local disk). Picklable; clients are made on first use in each process; thread-safe.

    Every method raises Retryable, with a sentence that names the URL, when the store does not answer or refuses.

    Attributes:
        root: key prefix that the URL named, without slashes at its ends.
        conditional: whether `create` leaves the choice of one winner to the store itself.
    """

    scheme: str
    bucket: str
    root: str
    conditional: bool

    def list(self, prefix: str) -> Iterator[Item]:
        """Every object whose key starts with the prefix, streamed; empty where nothing is."""
        ...

    def head(self, key: str) -> Item | None:
        """The object as it stands, or None."""
        ...

    def get(self, key: str, version: str | None = None, size: int | None = None) -> Content:
        """The content; pinned when a version is given.

        Args:
            size: of that version, where it is known: a store may then fetch parts of it side by side.

        Raises:
            Lost: ``superseded`` when another version stands there, ``deleted`` when none does.
        """
        ...

    def get_range(self, key: str, start: int, stop: int, version: str | None = None) -> bytes:
        """Bytes ``[start, stop)`` of the content; fewer where it ends earlier. Raises Lost as `get` does."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Create the object whole and once: False when the name is taken. Unknown outcome: Retryable."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write the object, replacing what stands there."""
        ...

    def copy(self, key: str, target_key: str) -> None:
        """Copy inside the bucket, replacing what stands there. Raises Lost(``deleted``) without the origin."""
        ...

    def delete(self, key: str, version: str | None = None) -> bool:
        """Delete the object if the version still stands there; False when it was left alone or already gone."""
        ...


def url_of(store: Store, key: str) -> str:
    """The object's URL for a person; carries no credentials."""
    return f"{store.scheme}://{store.bucket}/{key}"


def lost(url: str, reason: str) -> Lost:
    """The error for an object whose planned version is gone."""
    what = "was replaced by another version" if reason == "superseded" else "is not there any more"
    return Lost(f"{url} {what}", reason=reason)
