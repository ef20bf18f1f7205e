"""The oracle of the chaos tests: a plain listing and DuckDB, nothing of the product."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb

Listing = Callable[[], Iterator[tuple[str, str]]]
Fetch = Callable[[str], bytes]
_SHORT = "regexp_replace(record_id, '^kafka://[^/]*/|[?]version=[^#]*', '')"  # without what the tests cannot know


class Watch(threading.Thread):
    """Reads every file as soon as a plain listing shows it, and counts each record of it.

    Args:
        listing: (name, version) of each Parquet file that stands now.
        fetch: its bytes.
        every: seconds between two looks.

    Attributes:
        troubles: what must never be: a record twice, a file that changed, vanished or cannot be read.
        seen_at: monotonic seconds at which each file was first seen.
    """

    def __init__(self, listing: Listing, fetch: Fetch, folder: Path, every: float = 0.2) -> None:
        super().__init__(name="watch", daemon=True)
        self._listing, self._fetch, self._folder = listing, fetch, folder
        self._every = every
        self._versions: dict[str, str] = {}
        self._halt = threading.Event()
        self._looks = threading.Lock()
        self._rows = duckdb.connect()
        self._rows.execute("create table rows (record text, digest text, file text)")
        self.troubles: list[str] = []
        self.seen_at: list[float] = []
        folder.mkdir(parents=True)

    def run(self) -> None:
        while not self._halt.wait(self._every):
            self.look()

    def finish(self) -> None:
        self._halt.set()
        self.join()
        self.look()

    def look(self) -> None:
        """List the files once and read the new ones."""
        with self._looks:
            versions = dict(self._listing())
            for name in self._versions.keys() - versions.keys():
                self._trouble(f"{name} vanished")
            for name, version in versions.items():
                if name not in self._versions:
                    self._read(name)
                elif self._versions[name] != version:
                    self._trouble(f"{name} changed")
            self._versions = versions
            query = "select record, list(file) from rows group by record having count(*) > 1"
            for record, files in self._rows.execute(query).fetchall():
                self._trouble(f"{record} is there twice: {files}")

    def verdict(self, expected: dict[str, str]) -> dict[str, list[str]]:
        """The missing and the wrong ones of the expected records (name to digest of the content)."""
        with self._looks:
            rows = dict(self._rows.execute("select record, digest from rows").fetchall())
        return {
            "lost": sorted(expected.keys() - rows.keys()),
            "wrong": sorted(name for name, digest in rows.items() if expected.get(name) != digest),
            "troubles": self.troubles,
        }

    def _read(self, name: str) -> None:
        local = self._folder / hashlib.sha256(name.encode()).hexdigest()
        local.write_bytes(self._fetch(name))
        try:
            self._rows.execute(f"insert into rows select {_SHORT}, digest, '{name}' from read_parquet('{local}')")
        except duckdb.BinderException:  # an empty file that only holds a name has no column of the model
            count: Any = self._rows.execute(f"select count(*) from read_parquet('{local}')").fetchone()
            if count[0]:
                self._trouble(f"{name} has rows without a digest")
        except duckdb.Error as error:
            self._trouble(f"{name} cannot be read: {error}")
        self.seen_at.append(time.monotonic())

    def _trouble(self, text: str) -> None:
        if text not in self.troubles:
            self.troubles.append(text)


def of_bucket(client: Any, bucket: str, prefix: str) -> tuple[Listing, Fetch]:
    """Listing and fetch of an S3 folder."""

    def listing() -> Iterator[tuple[str, str]]:
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", []):
                yield item["Key"], item["ETag"]

    return listing, lambda name: client.get_object(Bucket=bucket, Key=name)["Body"].read()


def of_folder(folder: Path) -> tuple[Listing, Fetch]:
    """Listing and fetch of a local folder. Hidden and temporary names are no data, as for Spark, Hive and DuckDB."""

    def listing() -> Iterator[tuple[str, str]]:
        for path in folder.rglob("*.parquet"):
            if not re.match(r"[._]", path.name):
                status = path.stat()
                yield str(path), f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"

    return listing, lambda name: Path(name).read_bytes()
