"""Objects on the local disk. A file appears complete and once by ``link``, which never replaces a file."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import uuid
from collections.abc import Iterator

from stream_infer import crash
from stream_infer.connectors.storage.store import Item, lost
from stream_infer.errors import Fatal, RejectRecord, Retryable

_HIDDEN = (".tmp", ".part")


class LocalStore:
    """`Store` over plain files. Names that start with a dot or end in .tmp or .part are never listed."""

    scheme = "file"
    bucket = ""
    conditional = True

    def __init__(self, folder: str) -> None:
        self.root = os.path.normpath(f"/{folder}").strip("/")

    def list(self, prefix: str) -> Iterator[Item]:
        folder = prefix.rpartition("/")[0]
        yield from self._walk(os.fsencode("/" + folder), prefix)

    def _walk(self, folder: bytes, prefix: str) -> Iterator[Item]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            crash.point("store.list.page")
        except FileNotFoundError:
            return
        except OSError as error:
            raise _failed(_text(folder), error) from error
        for entry in entries:
            if entry.name.startswith(b".") or _text(entry.name).endswith(_HIDDEN):
                continue
            key = _text(entry.path).lstrip("/")
            try:
                if entry.is_dir(follow_symlinks=False):
                    if f"{key}/".startswith(prefix) or prefix.startswith(f"{key}/"):
                        yield from self._walk(entry.path, prefix)
                elif key.startswith(prefix) and entry.is_file():
                    yield _item(key, entry.stat())
            except FileNotFoundError:
                continue  # deleted since the folder was read
            except OSError as error:
                raise _failed(_text(folder), error) from error

    def head(self, key: str) -> Item | None:
        with _errors(key), crash.around("store.head"):
            try:
                status = os.stat(_path(key))
            except (FileNotFoundError, NotADirectoryError):
                return None
        return _item(key, status) if os.path.isfile(_path(key)) else None

    def get(self, key: str, version: str | None = None, size: int | None = None) -> bytes:
        return self._read(key, 0, None, version)

    def get_range(self, key: str, start: int, stop: int, version: str | None = None) -> bytes:
        return self._read(key, start, stop, version)

    def _read(self, key: str, start: int, stop: int | None, version: str | None) -> bytes:
        with _errors(key), crash.around("store.get"):
            try:
                with open(_path(key), "rb") as file:
                    self._pinned(key, os.fstat(file.fileno()), version)
                    file.seek(start)
                    data = file.read() if stop is None else file.read(max(0, stop - start))
                    # a writer that appended meanwhile has made another version
                    self._pinned(key, os.fstat(file.fileno()), version)
                    return data
            except (FileNotFoundError, NotADirectoryError):
                raise lost(f"file:///{key}", "deleted") from None

    def _pinned(self, key: str, status: os.stat_result, version: str | None) -> None:
        if version is not None and _item(key, status).version != version:
            raise lost(f"file:///{key}", "superseded")

    def create(self, key: str, data: bytes) -> bool:
        with _errors(key), self._temporary(key, data) as temporary:
            try:
                with crash.around("store.link"):
                    os.link(temporary, _path(key))
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK):
                    raise Fatal(f"file:///{key}: this file system has no hard links; use another folder") from error
                raise
            _sync(os.path.dirname(_path(key)))
            return True

    def put(self, key: str, data: bytes) -> None:
        with _errors(key), self._temporary(key, data) as temporary:
            with crash.around("store.replace"):
                os.replace(temporary, _path(key))
            _sync(os.path.dirname(_path(key)))

    @contextlib.contextmanager
    def _temporary(self, key: str, data: bytes) -> Iterator[bytes]:
        folder = os.path.dirname(_path(key))
        _make(folder)
        temporary = os.path.join(folder, f".{uuid.uuid4().hex}.tmp".encode())
        try:
            with open(temporary, "xb") as file:
                crash.point("store.temporary")
                crash.write("store.temporary", file, data)
                file.flush()
                with crash.around("store.fsync"):
                    os.fsync(file.fileno())
            yield temporary
        finally:
            crash.point("store.unlink")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)

    def copy(self, key: str, target_key: str) -> None:
        self.put(target_key, self.get(key))

    def delete(self, key: str, version: str | None = None) -> bool:
        with _errors(key):
            item = self.head(key)
            if item is None or (version is not None and item.version != version):
                return False
            with crash.around("store.delete"), contextlib.suppress(FileNotFoundError):
                os.unlink(_path(key))
            return True


def _item(key: str, status: os.stat_result) -> Item:
    return Item(key, status.st_size, status.st_mtime_ns / 1e9, f"{status.st_mtime_ns:x}-{status.st_size:x}")


def _text(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")


def _path(key: str) -> bytes:
    if ".." in key.split("/") or "\0" in key:
        raise RejectRecord(f"{key!r} is no key: it leads out of its folder", reason="key")
    path = b"/" + key.encode("utf-8", "surrogateescape")
    if "\\x" in key and not os.path.lexists(path):
        # a listing shows a name that is not UTF-8 with each invalid byte as \xNN
        raw = re.sub(rb"\\x([89a-f][0-9a-f])", lambda match: bytes.fromhex(match[1].decode()), path)
        return raw if os.path.lexists(raw) else path
    return path


def _make(folder: bytes) -> None:
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for path in reversed(missing):
        with crash.around("store.folder"), contextlib.suppress(FileExistsError):
            os.mkdir(path)
        _sync(os.path.dirname(path))


def _sync(folder: bytes) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        with crash.around("store.folder_sync"):
            os.fsync(handle)
    finally:
        os.close(handle)


def _failed(key: str, error: OSError) -> Retryable:
    return Retryable(f"file:///{key.lstrip('/')}: {error.strerror or type(error).__name__}", dependency="store")


@contextlib.contextmanager
def _errors(key: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _failed(key, error) from error
