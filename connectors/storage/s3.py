"""S3 calls that obstore lacks, through s3fs: calls with keys that obstore refuses, and deletes pinned to a version.

Each call names its operation and parameters (`S3FileSystem.call_s3`). The file methods of s3fs do not serve: `rm_file` ignores
``IfMatch`` and deletes any version, `cat_file` cannot pin an ETag, and `find` keeps a whole listing in memory and cannot
continue after a key (s3fs 2026.9).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from fsspec.asyn import sync

from stream_infer import crash, retry
from stream_infer.config import Storage
from stream_infer.connectors.storage.store import Item, lost
from stream_infer.errors import Retryable

_ABSENT = ("NoSuchKey", "404", "NotFound")
_CHANGED = ("PreconditionFailed", "412")


def client_of(service: str, endpoint_url: str | None, region: str | None, storage: Storage) -> Any:
    """A botocore client with the keys of the settings, or without these with the default credential chain."""
    session = botocore.session.get_session()
    return session.create_client(
        service,
        region_name=region or session.get_config_variable("region") or "us-east-1",
        endpoint_url=endpoint_url,
        aws_access_key_id=storage.access_key_id,
        aws_secret_access_key=storage.secret_access_key,
        aws_session_token=storage.session_token,
        config=Config(**_config(endpoint_url)),
    )


def _config(endpoint_url: str | None) -> dict[str, Any]:
    return {
        "connect_timeout": 5,
        "read_timeout": 60,
        "max_pool_connections": 64,
        "retries": {"max_attempts": retry.STORE_TRIES, "mode": "standard"},
        "s3": {"addressing_style": "path"} if endpoint_url else {},
    }


class S3Client:
    """Client of one bucket that uses keys unchanged and deletes by version. Raises as `Store` does. Thread-safe, not picklable."""

    def __init__(self, bucket: str, storage: Storage) -> None:
        self._bucket = bucket
        from s3fs import S3FileSystem  # here: most processes never need it, and it is slow to import

        with self._errors(""):
            self._files = S3FileSystem(
                key=storage.access_key_id,
                secret=storage.secret_access_key,
                token=storage.session_token,
                endpoint_url=storage.endpoint_url,
                client_kwargs={"region_name": storage.region} if storage.region else {},
                config_kwargs=_config(storage.endpoint_url),
                use_listings_cache=False,
                skip_instance_cache=True,
            )
        self._files.retries = 1  # botocore repeats calls already

    @staticmethod
    def credentials() -> Callable[[], Any] | None:
        """Credentials of botocore's chain for obstore, if obstore has no such source itself (profiles, SSO); else None."""
        credentials = botocore.session.get_session().get_credentials()
        if credentials is None or credentials.method in ("env", "iam-role", "container-role"):
            return None

        def provider() -> Any:
            frozen = credentials.get_frozen_credentials()
            expires = getattr(credentials, "_expiry_time", None)
            return {
                "access_key_id": frozen.access_key,
                "secret_access_key": frozen.secret_key,
                "token": frozen.token,
                "expires_at": expires,
            }

        return provider

    def list(self, prefix: str, after: str = "") -> Iterator[Item]:
        """Objects under a prefix whose keys sort after a key."""
        with self._errors(prefix):
            options = {"StartAfter": after} if after else {}
            while True:
                page = self._call("list_objects_v2", Prefix=prefix, **options)
                crash.point("store.list.page")
                for entry in page.get("Contents", ()):
                    yield Item(entry["Key"], entry["Size"], entry["LastModified"].timestamp(), entry["ETag"].strip('"'))
                if not page.get("IsTruncated"):
                    return
                options = {"ContinuationToken": page["NextContinuationToken"]}

    def head(self, key: str) -> Item | None:
        with self._errors(key), crash.around("store.head"):
            try:
                head = self._call("head_object", Key=key)
            except OSError as error:
                if _code(error) in _ABSENT:
                    return None
                raise
            return Item(key, head["ContentLength"], head["LastModified"].timestamp(), head["ETag"].strip('"'))

    def get(self, key: str, version: str | None, interval: tuple[int, int] | None = None) -> bytes:
        options: dict[str, str] = {"IfMatch": f'"{version}"'} if version is not None else {}
        if interval is not None:
            options["Range"] = f"bytes={interval[0]}-{interval[1] - 1}"
        with self._errors(key), crash.around("store.get"):
            body = self._call("get_object", Key=key, **options)["Body"]
            content: bytes = sync(self._files.loop, body.read)
            return content

    def put(self, key: str, data: bytes, *, replace: bool) -> bool:
        """Write an object; False if it exists and must not be replaced."""
        options = {} if replace else {"IfNoneMatch": "*"}
        with self._errors(key), crash.around("store.create" if not replace else "store.put"):
            try:
                self._call("put_object", Key=key, Body=data, **options)
            except OSError as error:
                if not replace and _code(error) in _CHANGED:
                    return False
                raise
            return True

    def copy(self, key: str, target_key: str) -> None:
        with self._errors(key), crash.around("store.put"):
            source = {"Bucket": self._bucket, "Key": key}
            self._call("copy_object", Key=target_key, CopySource=source)

    def delete(self, key: str, version: str | None) -> bool:
        """Delete the object if it has this version. A store without conditional deletes deletes any version."""
        options = {"IfMatch": f'"{version}"'} if version is not None else {}
        with self._errors(key), crash.around("store.delete"):
            try:
                self._call("delete_object", Key=key, **options)
            except OSError as error:
                if _code(error) in (*_ABSENT, *_CHANGED):
                    return False
                if _code(error) != "NotImplemented" or not options:
                    raise
                self._call("delete_object", Key=key)
            return True

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        url = f"s3://{self._bucket}/{key}"
        try:
            yield
        except (BotoCoreError, OSError, ValueError) as error:
            code = _code(error)
            if code == "NoSuchBucket":
                raise Retryable(f"s3://{self._bucket} does not exist (yet)", dependency="store") from None
            if code in _ABSENT:
                raise lost(url, "deleted") from None
            if code in _CHANGED:
                raise lost(url, "superseded") from None
            raise Retryable(f"{url}: the store failed: {code}", dependency="store") from None

    def _call(self, operation: str, **parameters: Any) -> Any:
        return self._files.call_s3(operation, Bucket=self._bucket, **parameters)


def _code(error: Exception) -> str:
    """The store's own code, which s3fs keeps as the cause of its OSError; the class of any other error."""
    cause = error.__cause__ if isinstance(error.__cause__, ClientError) else error
    if isinstance(cause, ClientError):
        return str(cause.response.get("Error", {}).get("Code", "unknown"))
    return type(error).__name__
