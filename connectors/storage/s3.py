"""The few S3 calls that need botocore: keys that obstore refuses, and deletes pinned to a version."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from stream_infer import crash, retry
from stream_infer.config import Storage
from stream_infer.connectors.storage.store import Item, lost
from stream_infer.errors import Retryable

_ABSENT = ("NoSuchKey", "404", "NotFound")
_CHANGED = ("PreconditionFailed", "412")


def client_of(service: str, endpoint_url: str | None, region: str | None, storage: Storage) -> Any:
    """A botocore client with the keys of the settings, else the default credential chain."""
    session = botocore.session.get_session()
    return session.create_client(
        service,
        region_name=region or session.get_config_variable("region") or "us-east-1",
        endpoint_url=endpoint_url,
        aws_access_key_id=storage.access_key_id,
        aws_secret_access_key=storage.secret_access_key,
        aws_session_token=storage.session_token,
        config=Config(
            connect_timeout=5,
            read_timeout=60,
            max_pool_connections=64,
            retries={"max_attempts": retry.STORE_TRIES, "mode": "standard"},
            s3={"addressing_style": "path"} if endpoint_url else {},
        ),
    )


class S3Client:
    """Exact keys and conditional deletes of one bucket; same errors as `Store`. Thread-safe, not picklable."""

    def __init__(self, bucket: str, storage: Storage) -> None:
        self._bucket = bucket
        with self._errors(""):
            self._client = client_of("s3", storage.endpoint_url, storage.region, storage)

    @staticmethod
    def credentials() -> Callable[[], Any] | None:
        """obstore credentials from botocore's chain where only botocore knows them (profiles, SSO), else None."""
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
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix, **options
            )
            for page in pages:
                crash.point("store.list.page")
                for entry in page.get("Contents", ()):
                    yield Item(entry["Key"], entry["Size"], entry["LastModified"].timestamp(), entry["ETag"].strip('"'))

    def head(self, key: str) -> Item | None:
        with self._errors(key), crash.around("store.head"):
            try:
                head = self._client.head_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise
            return Item(key, head["ContentLength"], head["LastModified"].timestamp(), head["ETag"].strip('"'))

    def get(self, key: str, version: str | None, span: tuple[int, int] | None = None) -> bytes:
        options: dict[str, str] = {"IfMatch": f'"{version}"'} if version is not None else {}
        if span is not None:
            options["Range"] = f"bytes={span[0]}-{span[1] - 1}"
        with self._errors(key), crash.around("store.get"):
            content: bytes = self._client.get_object(Bucket=self._bucket, Key=key, **options)["Body"].read()
            return content

    def put(self, key: str, data: bytes, *, replace: bool) -> bool:
        """Write an object; False when it may not be replaced and stands there."""
        options = {} if replace else {"IfNoneMatch": "*"}
        with self._errors(key), crash.around("store.create" if not replace else "store.put"):
            try:
                self._client.put_object(Bucket=self._bucket, Key=key, Body=data, **options)
            except ClientError as error:
                if not replace and _code(error) in _CHANGED:
                    return False
                raise
            return True

    def copy(self, key: str, target_key: str) -> None:
        with self._errors(key), crash.around("store.put"):
            source = {"Bucket": self._bucket, "Key": key}
            self._client.copy_object(Bucket=self._bucket, Key=target_key, CopySource=source)

    def delete(self, key: str, version: str | None) -> bool:
        """Delete if the version stands there; a store that knows no such condition deletes what it has."""
        options = {"IfMatch": f'"{version}"'} if version is not None else {}
        with self._errors(key), crash.around("store.delete"):
            try:
                self._client.delete_object(Bucket=self._bucket, Key=key, **options)
            except ClientError as error:
                if _code(error) in (*_ABSENT, *_CHANGED):
                    return False
                if _code(error) != "NotImplemented" or not options:
                    raise
                self._client.delete_object(Bucket=self._bucket, Key=key)
            return True

    @contextlib.contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        url = f"s3://{self._bucket}/{key}"
        try:
            yield
        except ClientError as error:
            code = _code(error)
            if code == "NoSuchBucket":
                raise Retryable(f"s3://{self._bucket} does not exist (yet)", dependency="store") from None
            if code in _ABSENT:
                raise lost(url, "deleted") from None
            if code in _CHANGED:
                raise lost(url, "superseded") from None
            raise Retryable(f"{url}: the store failed: {code}", dependency="store") from None
        except (BotoCoreError, OSError, ValueError) as error:
            raise Retryable(f"{url}: the store failed: {type(error).__name__}", dependency="store") from None


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))
