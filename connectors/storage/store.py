"""The interface of all object stores: create-if-absent, pinned reads, plain listing.

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
    """One object in its present version.

    Attributes:
        size: bytes.
        modified: seconds since the epoch.
        version: the value that pins a read: the ETag without quotes; for local files mtime in ns and size, both hexadecimal.
    """

    key: str
    size: int
    modified: float
    version: str


def possible(key: str) -> bool:
    """Whether an object can have this key. A store answers a request with an impossible key as if the store had failed."""
    return "\0" not in key and 0 < len(key.encode("utf-8", "surrogatepass")) <= _LONGEST_KEY


class Store(Protocol):
    """A bucket, or the local disk. Picklable and thread-safe; each process makes its clients on first use.

    Every method raises Retryable, with a sentence that names the URL, when the store does not answer or refuses.

    Attributes:
        root: key prefix of the URL, without slashes at its ends.
        conditional: whether the store itself lets only one of several concurrent `create` calls succeed.
    """

    scheme: str
    bucket: str
    root: str
    conditional: bool

    def list(self, prefix: str) -> Iterator[Item]:
        """Every object whose key starts with the prefix, streamed; empty if there is none."""
        ...

    def head(self, key: str) -> Item | None:
        """The object in its present version, or None."""
        ...

    def get(self, key: str, version: str | None = None, size: int | None = None) -> Content:
        """The content of the object, with ``version`` of that version only.

        Args:
            size: size of that version, if known: a store may then fetch parts of the content at the same time.

        Raises:
            Lost: ``superseded`` if the object has another version, ``deleted`` if there is no object.
        """
        ...

    def get_range(self, key: str, start: int, stop: int, version: str | None = None) -> bytes:
        """Bytes ``[start, stop)`` of the content; fewer if the content ends earlier. Raises Lost as `get` does."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Create the object atomically; False if the key is taken. Raises Retryable if the outcome is unknown."""
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write the object, or replace it."""
        ...

    def copy(self, key: str, target_key: str) -> None:
        """Copy or replace an object inside the bucket. Raises Lost (``deleted``) if there is no object to copy."""
        ...

    def delete(self, key: str, version: str | None = None) -> bool:
        """Delete the object, with ``version`` only that version; False if it has another version or does not exist."""
        ...


def url_of(store: Store, key: str) -> str:
    """The object's URL for messages, without credentials."""
    return f"{store.scheme}://{store.bucket}/{key}"


def lost(url: str, reason: str) -> Lost:
    """The error for an object whose planned version no longer exists."""
    what = "was replaced by another version" if reason == "superseded" else "is not there any more"
    return Lost(f"{url} {what}", reason=reason)
