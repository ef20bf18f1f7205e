"""S3, Google Cloud Storage and Azure through obstore; s3fs for the S3 keys that obstore refuses."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Lock
from typing import Any

import obstore
from obstore import exceptions
from obstore.store import AzureStore, GCSStore, S3Store

from stream_infer import crash, retry
from stream_infer.config import Storage
from stream_infer.connectors.storage.bodies import body, fresh, pour
from stream_infer.connectors.storage.s3 import S3Client
from stream_infer.connectors.storage.store import Item, lost
from stream_infer.errors import ConfigError, Lost, Retryable
from stream_infer.records import Content

_PART = 16 * 2**20  # bytes
_PARTS = 8  # fetched at the same time by one process
# Bytes per second of one connection. S3 gives 85 to 90 MB/s ("Performance design patterns for Amazon S3").
_FAST = 100 * 10**6
_TRY_AGAIN = 16  # large objects
# obstore normalises or refuses these keys, and a key must be used unchanged
_REFUSED = re.compile(r"[\x00-\x1f\x7f]|//|^/|/$|(^|/)\.{1,2}(/|$)")


class ObjectStore:
    """`Store` over a bucket of ``s3``, ``gs`` or ``az``."""

    conditional = True

    def __init__(self, scheme: str, bucket: str, root: str, storage: Storage) -> None:
        self.scheme, self.bucket, self.root = scheme, bucket, root
        self._storage = storage
        self._start()

    def _start(self) -> None:
        self._lock = Lock()
        self._client: Any = None
        self._exact: S3Client | None = None
        self._tried_in = 0  # number of large objects until one is read by one connection again
        self._parts = ThreadPoolExecutor(_PARTS, thread_name_prefix="parts")

    def __getstate__(self) -> tuple[str, str, str, Storage]:
        return self.scheme, self.bucket, self.root, self._storage

    def __setstate__(self, state: tuple[str, str, str, Storage]) -> None:
        self.scheme, self.bucket, self.root, self._storage = state
        self._start()

    def list(self, prefix: str) -> Iterator[Item]:
        folder, _, _ = prefix.rpartition("/")
        if _REFUSED.search(folder):
            yield from self._s3(prefix).list(prefix)
            return
        last = ""
        try:
            with self._errors(folder):
                for chunk in obstore.list(self._objects(), folder or None, chunk_size=1000):
                    crash.point("store.list.page")
                    for meta in chunk:
                        last = meta["path"]
                        if last.startswith(prefix):
                            yield _item(meta)
        except _Refused:
            # one key that obstore refuses ends its whole listing; s3fs continues after the last key
            yield from self._s3(prefix).list(prefix, after=last)

    def head(self, key: str) -> Item | None:
        if _REFUSED.search(key):
            return self._s3(key).head(key)
        with self._errors(key), crash.around("store.head"):
            try:
                meta = obstore.head(self._objects(), key)
                self._check_answer(key, meta, None)
                return _item(meta)
            except FileNotFoundError:
                pass
        # a HEAD answer has no body, so 404 may also mean a missing bucket or an unknown user: a GET shows the reason
        try:
            self.get_range(key, 0, 1)
        except Lost:
            return None
        except Retryable as error:
            if "InvalidRange" in str(error):
                return self.head(key)  # an empty object that was created between the two calls
            raise
        return self.head(key)

    def get(self, key: str, version: str | None = None, size: int | None = None) -> Content:
        if _REFUSED.search(key):
            return self._s3(key).get(key, version)
        if size is not None and size > _PART and version is not None:
            return self._large(key, version, size)
        with self._answer(key, version) as answer:
            return body(answer)

    def _large(self, key: str, version: str, size: int) -> Content:
        """The content of a large object, by one connection or by several.

        A distant store is faster by several connections; a close one is cheaper by one. So one connection begins. If it is
        slow, several connections fetch the rest, and the whole of the next objects.
        """
        content = fresh(size)

        def fetch(start: int) -> None:
            stop = min(start + _PART, size)
            with self._answer(key, version, (start, stop)) as answer:
                pour(answer, content[start:stop])

        copied = 0
        if self._is_time_to_try():
            with self._answer(key, version) as answer:
                copied = pour(answer, content, _FAST, _PART)
            if copied < size:
                self._tried_in = _TRY_AGAIN
        for _ in self._parts.map(fetch, range(copied, size, _PART)):
            pass
        return content

    def _is_time_to_try(self) -> bool:
        """Whether one connection may have become fast enough."""
        with self._lock:
            self._tried_in = max(0, self._tried_in - 1)
            return self._tried_in == 0

    def get_range(self, key: str, start: int, stop: int, version: str | None = None) -> bytes:
        if stop <= start:
            return b""
        if _REFUSED.search(key):
            return self._s3(key).get(key, version, (start, stop))
        with self._answer(key, version, (start, stop)) as answer:
            return bytes(body(answer))

    @contextlib.contextmanager
    def _answer(self, key: str, version: str | None, interval: tuple[int, int] | None = None) -> Iterator[Any]:
        """The store's answer to a GET, before its body is read. Raises as `get` does, for the body too."""
        options: Any = {"range": interval} if interval is not None else {}
        if version is not None:
            options["if_match"] = f'"{version}"'
        with self._errors(key), crash.around("store.get"):
            try:
                answer = obstore.get(self._objects(), key, options=options or None)
                self._check_answer(key, answer.meta, version)
                yield answer
            except FileNotFoundError as error:
                self._key_is_missing(key, error)
                raise lost(self._url(key), "deleted") from None

    def create(self, key: str, data: bytes) -> bool:
        if _REFUSED.search(key):
            return self._s3(key).put(key, data, replace=False)
        with self._errors(key), crash.around("store.create"):
            try:
                obstore.put(self._objects(), key, data, mode="create", use_multipart=False)
            except exceptions.AlreadyExistsError:
                return False
            return True

    def put(self, key: str, data: bytes) -> None:
        if _REFUSED.search(key):
            self._s3(key).put(key, data, replace=True)
            return
        with self._errors(key), crash.around("store.put"):
            obstore.put(self._objects(), key, data)

    def copy(self, key: str, target_key: str) -> None:
        if _REFUSED.search(key) or _REFUSED.search(target_key):
            self._s3(key).copy(key, target_key)
            return
        with self._errors(key), crash.around("store.put"):
            try:
                obstore.copy(self._objects(), key, target_key)
            except FileNotFoundError as error:
                self._key_is_missing(key, error)
                raise lost(self._url(key), "deleted") from None

    def delete(self, key: str, version: str | None = None) -> bool:
        item = self.head(key)
        if item is None or (version is not None and item.version != version):
            return False
        if self.scheme == "s3":
            # the store compares the version where it can; where it cannot, the check above narrows the gap
            return self._s3(key).delete(key, version)
        with self._errors(key), crash.around("store.delete"):
            obstore.delete(self._objects(), key)
        return True

    def _url(self, key: str) -> str:
        return f"{self.scheme}://{self.bucket}/{key}"

    def _objects(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = _open(self.scheme, self.bucket, self._storage)
            return self._client

    def _s3(self, key: str) -> S3Client:
        if self.scheme != "s3":
            raise Retryable(
                f"{self._url(key)!r}: a key of this shape cannot be read from this store; rename the object",
                dependency="store",
            )
        with self._lock:
            if self._exact is None:
                self._exact = S3Client(self.bucket, self._storage)
            return self._exact

    def _key_is_missing(self, key: str, error: Exception) -> None:
        """Raise Retryable unless the key itself is missing: a 404 with another cause must lose no record."""
        code = _code(error)
        if code is not None and code not in ("NoSuchKey", "NoSuchVersion", "BlobNotFound"):
            raise Retryable(self._sentence(key, error), dependency="store") from None

    def _check_answer(self, key: str, meta: Any, version: str | None) -> None:
        """Raise Retryable for an answer that is not from the store: obstore accepts 200 with an error document, which has no ETag."""
        tag = (meta["e_tag"] or meta["version"] or "").strip('"')
        if not tag or (version is not None and tag != version):
            raise Retryable(
                f"{self._url(key)}: the answer lacks the object's ETag, so a proxy gave it and not the store"
            )

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except exceptions.InvalidPathError as error:
            raise _Refused from error
        except exceptions.PreconditionError:
            raise lost(self._url(key), "superseded") from None
        except (exceptions.BaseError, OSError, ValueError) as error:
            raise Retryable(self._sentence(key, error), dependency="store") from None

    def _sentence(self, key: str, error: Exception) -> str:
        code = _code(error)
        if code in ("NoSuchBucket", "ContainerNotFound"):
            return f"{self.scheme}://{self.bucket} does not exist (yet)"
        detail = code or str(error).split("\n", 1)[0].split(" - ")[-1][:200]
        for secret in (self._storage.access_key_id, self._storage.secret_access_key, self._storage.session_token):
            if secret:
                detail = detail.replace(secret, "***")
        return f"{self._url(key)}: the store failed: {detail}"


class _Refused(Exception):
    """obstore refused a key."""


def _code(error: Exception) -> str | None:
    match = re.search(r"<Code>(\w+)</Code>", str(error))
    return match[1] if match is not None else None


def _item(meta: Any) -> Item:
    version = (meta["e_tag"] or meta["version"] or "").strip('"')
    return Item(meta["path"], meta["size"], meta["last_modified"].timestamp(), version)


def _open(scheme: str, bucket: str, storage: Storage) -> Any:
    client: Any = {"allow_http": True, "connect_timeout": "5s", "timeout": "300s"}
    tries: Any = {"max_retries": retry.STORE_TRIES, "retry_timeout": timedelta(seconds=retry.STORE_SECONDS)}
    common: dict[str, Any] = {"client_options": client, "retry_config": tries, **storage.options}
    try:
        if scheme == "gs":
            return GCSStore(bucket, **common)
        if scheme == "az":
            return AzureStore(bucket, **common)
        given = {
            "endpoint": storage.endpoint_url,
            "region": storage.region,
            "access_key_id": storage.access_key_id,
            "secret_access_key": storage.secret_access_key,
            "session_token": storage.session_token,
        }
        common |= {name: value for name, value in given.items() if value is not None}
        if storage.access_key_id is None and "skip_signature" not in common:
            provider = S3Client.credentials()
            common |= {"credential_provider": provider} if provider is not None else {}
        return S3Store(bucket, **common)
    except (exceptions.BaseError, TypeError, ValueError) as error:
        raise ConfigError(f"storage of {scheme}://{bucket}: {str(error).splitlines()[0][:200]}") from None
