"""The store of a URL."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from stream_infer.config import Storage
from stream_infer.connectors.storage.store import Store
from stream_infer.errors import ConfigError
from stream_infer.plugins import require


def open_store(url: str, storage: Storage) -> Store:
    """The store of a URL such as ``s3://bucket/in/`` or ``/data/in``.

    Raises:
        ConfigError: no store has such URLs.
    """
    # Imported when needed: clients of stores that a pipeline does not use would slow down the start of every worker.
    # urlsplit would cut a key at "?" or "#"; both are legal in keys and paths.
    scheme, separator, rest = url.partition("://")
    if not separator or scheme == "file":
        from stream_infer.connectors.storage.local import LocalStore

        path = unquote("/" + rest.partition("/")[2]) if separator else str(Path(url).expanduser().absolute())
        return LocalStore(path)
    bucket, _, root = rest.partition("/")
    if not bucket:
        raise ConfigError(f"{url!r} names no bucket; write {scheme}://BUCKET/PREFIX/")
    kind = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az"}.get(scheme)
    if kind is not None:
        require(("obstore", "botocore"), "stream-infer[s3]", f"{scheme}://{bucket}")
        from stream_infer.connectors.storage.objects import ObjectStore

        return ObjectStore(kind, bucket, root.strip("/"), storage)
    from stream_infer.connectors.storage.fsspec_store import FsspecStore

    return FsspecStore(scheme, bucket, root.strip("/"), storage)
