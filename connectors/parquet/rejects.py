"""Rejects as Parquet files: one for each split that was committed with some."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stream_infer.connectors.parquet.settings import FolderRejects
from stream_infer.connectors.storage.opening import open_store
from stream_infer.connectors.storage.store import Store
from stream_infer.errors import ConfigError
from stream_infer.rejects import DeadLetter

SCHEMA = pa.schema(
    [
        pa.field("record_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("error", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("rejected_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("replay", pa.int32(), nullable=False),
        pa.field("split_id", pa.string(), nullable=False),
        pa.field("sample", pa.binary()),
    ]
)


class RejectFolder:
    """Implements `contracts.RejectTarget`. The name of a file is a function of its split, so it appears once."""

    def __init__(self, store: Store, name: str, sample: int) -> None:
        self.name = name
        self.originals = sample
        self._store = store

    @classmethod
    def from_config(cls, settings: FolderRejects) -> RejectFolder:
        """The folder of the settings.

        Raises:
            ConfigError: its store cannot create a file once.
        """
        assert settings.url is not None
        store = open_store(settings.url, settings.storage)
        if not store.conditional:
            raise ConfigError(
                f"rejects.url: {store.scheme}:// has no create-if-absent, so a reject could be there twice; "
                "use s3://, gs://, az:// or a local folder"
            )
        return cls(store, f"parquet:{store.scheme}://{store.bucket}/{store.root}", settings.sample)

    def publish(self, letters: Sequence[DeadLetter]) -> None:
        """See `contracts.RejectTarget.publish`. A file that exists was written by an earlier try."""
        for split, letters_of_split in groupby(letters, key=lambda letter: letter.split):
            key = f"{split.folder}/{split.split_id}.parquet"
            content = io.BytesIO()
            rows = [_row(letter, self.originals) for letter in letters_of_split]
            pq.write_table(pa.Table.from_pylist(rows, SCHEMA), content, compression="zstd")
            self._store.create(f"{self._store.root}/{key}" if self._store.root else key, content.getvalue())

    def close(self) -> None:
        """Nothing to release."""


def _row(letter: DeadLetter, sample: int) -> dict[str, Any]:
    reject = letter.reject
    value = letter.original.value if letter.original is not None and sample else None
    names = ("record_id", "source", "stage", "error", "reason", "attempts")
    return {name: getattr(reject, name) for name in names} | {
        "rejected_at": datetime.fromtimestamp(reject.rejected_at, UTC),
        "replay": letter.replay,
        "split_id": letter.split.split_id,
        "sample": value[:sample] if value is not None else None,
    }
