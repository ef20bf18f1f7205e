"""The Parquet sink: one file a split, created once and never replaced."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

import pyarrow as pa

from stream_infer import crash
from stream_infer.connectors.parquet import footer
from stream_infer.connectors.parquet.settings import ParquetSettings
from stream_infer.connectors.storage.opening import open_store
from stream_infer.connectors.storage.store import Item, Store, url_of
from stream_infer.errors import ConfigError, Lost, Retryable
from stream_infer.splits import Receipt, Split

log = logging.getLogger(__name__)
_LISTERS = 16
_LIST_AHEAD = 1024
_SPLIT_ID = re.compile("[0-9a-f]{32}")


class ParquetSink:
    """Implements `contracts.Sink`. Picklable; thread-safe.

    A split's file is ``FOLDER/SPLIT_ID.parquet`` under the root. The first that takes the name wins, for ever.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @classmethod
    def from_config(cls, settings: ParquetSettings) -> ParquetSink:
        """The sink of the settings.

        Raises:
            ConfigError: the store cannot choose one winner and the settings do not accept that.
        """
        store = open_store(settings.url, settings.storage)
        if not store.conditional and not settings.single_writer:
            raise ConfigError(
                f"sink.url: {store.scheme}:// has no create-if-absent, so two instances could write one file twice; "
                "use s3://, gs://, az:// or a local folder, or write sink.single_writer: true to accept it"
            )
        return cls(store)

    def write(self, split: Split, rows: pa.Table, receipt: Receipt) -> Receipt:
        """See `contracts.Sink.write`. No row left: no file, unless an earlier attempt left one."""
        if not rows.num_rows:
            return self.find(split) or replace(receipt, file=None, rows=0, written_at=time.time())
        filled = replace(receipt, file=_file_of(split), rows=rows.num_rows, written_at=time.time())
        return self._create(split, filled, footer.to_bytes(rows, filled))

    def find(self, split: Split) -> Receipt | None:
        """See `contracts.Sink.find`."""
        item = self._store.head(self._key(split))
        return None if item is None else self._existing_receipt(split, item)

    def retire(self, split: Split) -> Receipt | None:
        """See `contracts.Sink.retire`."""
        retired = Receipt(
            split.split_id,
            split.source,
            split.attempt,
            split.bounds,
            file=_file_of(split),
            written_at=time.time(),
            retired=True,
        )
        existing = self._create(split, retired, footer.empty(retired))
        return None if existing.retired else existing

    def files(self, folder: str) -> Iterator[tuple[str, str]]:
        """See `contracts.Sink.files`."""
        root = f"{self._store.root}/" if self._store.root else ""
        for item in self._store.list(f"{root}{folder}/" if folder else root):
            name = item.key.rpartition("/")[2].removesuffix(".parquet")
            if _SPLIT_ID.fullmatch(name):
                yield name, item.key.removeprefix(root)

    def receipt_of(self, file: str) -> Receipt | None:
        """See `contracts.Sink.receipt_of`."""
        item = self._store.head(f"{self._store.root}/{file}" if self._store.root else file)
        return None if item is None else self._footer(item)[0]

    def receipts(self) -> Iterator[Receipt]:
        """Every receipt under the root, by plain listing; files of others are skipped with a warning."""
        for item, receipt, _rows in self.listing():
            if receipt is None:
                log.warning("%s is not a file of this service; it is left alone", url_of(self._store, item.key))
            else:
                yield receipt

    def listing(self) -> Iterator[tuple[Item, Receipt | None, int]]:
        """Every Parquet file under the root with its receipt, None where it has none, and its rows."""
        prefix = f"{self._store.root}/" if self._store.root else ""
        items = (item for item in self._store.list(prefix) if item.key.endswith(".parquet"))
        with ThreadPoolExecutor(_LISTERS, thread_name_prefix="footers") as pool:
            while batch := list(islice(items, _LIST_AHEAD)):
                for item, (receipt, rows) in zip(batch, pool.map(self._footer, batch), strict=True):
                    # the place decides, not what the file says of itself: it may have been copied there
                    relative = item.key.removeprefix(prefix)
                    if receipt is not None and (receipt.file or relative) != relative:
                        receipt = replace(receipt, split_id=f"{receipt.split_id}@{relative}", file=relative)
                    yield item, receipt, rows

    def _create(self, split: Split, receipt: Receipt, content: bytes) -> Receipt:
        key = self._key(split)
        if self._store.create(key, content):
            crash.point("sink.created")
            return replace(receipt, bytes_out=len(content))
        crash.point("sink.taken")
        item = self._store.head(key)
        if item is None:
            raise Retryable(
                f"{url_of(self._store, key)}: the name was taken and is free again; somebody deletes files",
                dependency="store",
            )
        return self._existing_receipt(split, item)

    def _existing_receipt(self, split: Split, item: Item) -> Receipt:
        receipt, _rows = self._footer(item)
        if receipt is None or receipt.split_id != split.split_id:
            raise Retryable(
                f"{url_of(self._store, item.key)}: stands in the way and has no receipt; move it elsewhere",
                dependency="store",
            )
        return receipt

    def _footer(self, item: Item) -> tuple[Receipt | None, int]:
        start = footer.Tail.first_guess(item.size)
        try:
            tail = footer.Tail(item.size, self._store.get_range(item.key, start, item.size))
            longer = tail.missing()
            if longer is not None:
                tail = footer.Tail(item.size, self._store.get_range(item.key, longer, item.size))
            receipt, rows = tail.receipt()
        except Lost:  # somebody deleted it between the two looks
            return None, 0
        # a file cannot hold its own size
        return (receipt if receipt is None else replace(receipt, bytes_out=item.size)), rows

    def _key(self, split: Split) -> str:
        return f"{self._store.root}/{_file_of(split)}" if self._store.root else _file_of(split)


def _file_of(split: Split) -> str:
    return f"{split.folder}/{split.split_id}.parquet"
