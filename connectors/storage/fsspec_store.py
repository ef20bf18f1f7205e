"""All other stores (memory://, sftp://, hdfs://, …) through fsspec."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime
from threading import Lock
from typing import Any

import fsspec

from stream_infer import crash
from stream_infer.config import Storage
from stream_infer.connectors.storage.store import Item, lost
from stream_infer.errors import ConfigError, Lost, Retryable


class FsspecStore:
    """`Store` over any fsspec file system.

    Only ``memory`` creates an object atomically. Elsewhere `create` checks for the name before it writes, so there must be
    one writer only. A pinned read compares the version before and after.
    """

    _memory = Lock()

    def __init__(self, scheme: str, bucket: str, root: str, storage: Storage) -> None:
        if scheme not in fsspec.available_protocols():
            raise ConfigError(f"{scheme}:// is no store; write s3://, gs://, az://, file:// or an fsspec protocol")
        self.scheme, self.bucket, self.root = scheme, bucket, root
        self.conditional = scheme == "memory"
        self._options = dict(storage.options)
        self._start()

    def _start(self) -> None:
        self._lock = Lock()
        self._client: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_lock", "_client")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def list(self, prefix: str) -> Iterator[Item]:
        with self._errors(prefix):
            pending = [self._path(prefix.rpartition("/")[0])]
            while pending:
                try:
                    entries = self._fs().ls(pending.pop(), detail=True)
                    crash.point("store.list.page")
                except FileNotFoundError:
                    continue
                for entry in sorted(entries, key=lambda entry: str(entry["name"])):
                    if entry["type"] == "directory":
                        pending.append(entry["name"])
                    elif (key := self._key(entry["name"])).startswith(prefix):
                        yield _item(key, entry)

    def head(self, key: str) -> Item | None:
        with self._errors(key), crash.around("store.head"):
            try:
                entry = self._fs().info(self._path(key))
            except FileNotFoundError:
                return None
            return _item(key, entry) if entry["type"] != "directory" else None

    def get(self, key: str, version: str | None = None, size: int | None = None) -> bytes:
        return self._read(key, None, version)

    def get_range(self, key: str, start: int, stop: int, version: str | None = None) -> bytes:
        return self._read(key, (start, stop), version)

    def _read(self, key: str, interval: tuple[int, int] | None, version: str | None) -> bytes:
        with self._errors(key), crash.around("store.get"):
            self._pinned(key, version)
            try:
                start, stop = interval or (None, None)
                data = bytes(self._fs().cat_file(self._path(key), start=start, end=stop))
            except FileNotFoundError:
                raise lost(self._url(key), "deleted") from None
            self._pinned(key, version)
            return data

    def _pinned(self, key: str, version: str | None) -> None:
        if version is not None:
            item = self.head(key)
            if item is None:
                raise lost(self._url(key), "deleted")
            if item.version != version:
                raise lost(self._url(key), "superseded")

    def create(self, key: str, data: bytes) -> bool:
        with self._errors(key), self._lock_of_memory():
            if self.head(key) is not None:
                return False
            with crash.around("store.create"):
                self._write(key, data)
            return True

    def put(self, key: str, data: bytes) -> None:
        with self._errors(key), crash.around("store.put"):
            self._write(key, data)

    def _write(self, key: str, data: bytes) -> None:
        path = self._path(key)
        with contextlib.suppress(NotImplementedError):
            self._fs().makedirs(path.rpartition("/")[0], exist_ok=True)
        self._fs().pipe_file(path, data)

    @contextlib.contextmanager
    def _lock_of_memory(self) -> Iterator[None]:
        # objects of memory:// exist in this process only, so its own lock is enough
        if self.conditional:
            with self._memory:
                yield
        else:
            yield

    def copy(self, key: str, target_key: str) -> None:
        self.put(target_key, self.get(key))

    def delete(self, key: str, version: str | None = None) -> bool:
        with self._errors(key):
            item = self.head(key)
            if item is None or (version is not None and item.version != version):
                return False
            with crash.around("store.delete"), contextlib.suppress(FileNotFoundError):
                self._fs().rm_file(self._path(key))
            return True

    def _fs(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = fsspec.filesystem(self.scheme, use_listings_cache=False, **self._options)
            return self._client

    def _url(self, key: str) -> str:
        return f"{self.scheme}://{self.bucket}/{key}"

    def _path(self, key: str) -> str:
        # `_strip_protocol` alone knows whether the first part of the URL is a host or a folder
        return str(self._fs()._strip_protocol(self._url(key)))

    def _key(self, path: str) -> str:
        base = self._path("")
        return str(self._fs()._strip_protocol(path)).removeprefix(base).lstrip("/")

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except (Lost, Retryable):
            raise
        except (OSError, ValueError, RuntimeError) as error:
            raise Retryable(f"{self._url(key)}: the store failed: {type(error).__name__}", dependency="store") from None
        except ImportError as error:
            raise ConfigError(f"{self.scheme}:// needs a package that is missing: {error.name or error}") from None


def _item(key: str, entry: dict[str, Any]) -> Item:
    stamp = next((entry[name] for name in ("LastModified", "modified", "mtime", "created") if entry.get(name)), 0.0)
    modified = stamp.timestamp() if isinstance(stamp, datetime) else float(stamp)
    size = int(entry.get("size") or 0)
    etag = str(entry.get("ETag") or entry.get("etag") or "").strip('"')
    return Item(key, size, modified, etag or f"{int(modified * 1e9):x}-{size:x}")
