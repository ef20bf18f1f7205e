"""The reader of files in the workers: decodes objects to tables of records."""

from __future__ import annotations

import base64
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from stream_infer.bounds import ObjectRef, ObjectSet, object_of, parse
from stream_infer.connectors.storage.store import Store, url_of
from stream_infer.contracts import NO_ROWS, Piece
from stream_infer.decode.base import Decoded
from stream_infer.decode.decoder import Decoder
from stream_infer.errors import Lost, RejectRecord, Retryable
from stream_infer.records import RECORD_COLUMNS, RECORD_FIELDS, Content
from stream_infer.rejects import Original
from stream_infer.splits import Loss, Reject, Split

_FETCHES = 32
_AHEAD = 128  # objects fetched before the first of them is decoded
_AHEAD_BYTES = 64 * 2**20
_TABLE_BYTES = 32 * 2**20
_LARGE = 64 * 2**10  # mean bytes of a table from which on tables are not copied into one chunk
_PROVENANCE_BYTES = 150  # of one row, besides its key
_Fetched = Content | Lost | RejectRecord


class FilesReader:
    """Implements `contracts.ObjectReader`. Reads are pinned to the planned version."""

    def __init__(self, store: Store, decoder: Decoder) -> None:
        self._store = store
        self._decoder = decoder

    def read(self, split: Split) -> Iterator[Piece]:
        """See `contracts.Reader.read`."""
        bounds = objects_of(split)
        rows = bounds.rows
        run = _Run(self, split)
        with ThreadPoolExecutor(_FETCHES, thread_name_prefix="fetch") as pool:
            for item, content in self._fetched(pool, bounds.objects):
                if isinstance(content, Lost):
                    start, stop = rows or (0, 1)
                    first = self.record_id(item, start)
                    run.losses.append(Loss(first, split.source, content.reason, stop - start))
                    continue
                if isinstance(content, RejectRecord):
                    run.rejects.append(self._reject(split, item, 0, content.reason, str(content), whole=True))
                    continue
                run.bytes += len(content)
                self._decode_into(run, item, content, rows)
                if run.table_bytes >= _TABLE_BYTES:
                    yield run.to_piece()
                    run = _Run(self, split)
        yield run.to_piece()

    def original(self, split: Split, reject: Reject, most: int) -> Original:
        """See `contracts.Reader.original`. The bytes of an object that is one record; the columns of a row as JSON."""
        item, row = object_of(objects_of(split), reject.record_id)
        key = item.key.encode()
        try:
            if reject.whole or self._decoder.one_record(item.key):
                value = self._store.get_range(item.key, 0, min(most, item.size), item.version)
                return Original(key, value, missing="too_large" if item.size > most else None)
        except Lost as error:
            return Original(key, missing=error.reason)
        one = replace(split, bounds=ObjectSet((item,), (row, row + 1)).to_json())
        for piece in self.read(one):
            if piece.table.num_rows:
                columns = [name for name in piece.table.column_names if name not in RECORD_COLUMNS]
                text = orjson.dumps(piece.table.select(columns).to_pylist()[0], default=_plain)
                return Original(key, text[:most], missing="too_large" if len(text) > most else None)
            if piece.losses:
                return Original(key, missing=piece.losses[0].reason)
        return Original(key, missing="undecodable")

    def record_id(self, item: ObjectRef, row: int) -> str:
        """The coordinate of one row of an object."""
        return f"{self.location}/{item.path}#{row}"

    @property
    def location(self) -> str:
        """See `contracts.ObjectReader.location`."""
        return f"{self._store.scheme}://{self._store.bucket}"

    def one_record(self, key: str) -> bool:
        """See `contracts.ObjectReader.one_record`."""
        return self._decoder.one_record(key)

    def count_rows(self, item: ObjectRef) -> int:
        """See `contracts.ObjectReader.count_rows`."""
        content = self._fetch(item)
        if isinstance(content, Exception):
            return 1
        last = 0
        try:
            for piece in self._decoder.decode(content, item.key):
                last = max([last, *piece.rows, *(reject.row for reject in piece.rejects)])
        except RejectRecord:
            return 1
        return last + 1

    def _fetched(self, pool: ThreadPoolExecutor, objects: Sequence[ObjectRef]) -> Iterator[tuple[ObjectRef, _Fetched]]:
        """The objects in order, each with its content; others are fetched meanwhile: many small ones, few large ones."""
        ahead: deque[tuple[ObjectRef, Future[_Fetched]]] = deque()
        size = 0
        try:
            for item in objects:
                while ahead and (len(ahead) == _AHEAD or size + item.size > _AHEAD_BYTES):
                    first, content = ahead.popleft()
                    size -= first.size
                    yield first, content.result()
                ahead.append((item, pool.submit(self._fetch, item)))
                size += item.size
            while ahead:
                first, content = ahead.popleft()
                yield first, content.result()
        finally:  # after an error the fetches that have not begun are not needed
            for _, content in ahead:
                content.cancel()

    def _fetch(self, item: ObjectRef) -> _Fetched:
        if item.size > self._decoder.most_bytes:
            return RejectRecord(f"{item.size} bytes are more than limits.record_bytes", reason="too_large")
        try:
            content = self._store.get(item.key, item.version, item.size)
        except Lost as error:
            return error
        if item.size and len(content) != item.size:  # the version is the planned one, so a part of it is missing
            raise Retryable(f"{url_of(self._store, item.key)}: {len(content)} of {item.size} bytes came")
        return content

    def _decode_into(self, run: _Run, item: ObjectRef, content: Content, rows: Sequence[int] | None) -> None:
        split = run.split
        try:
            for decoded in self._decoder.decode(content, item.key):
                if rows is not None:
                    if decoded.rows and min([decoded.rows[0], *(it.row for it in decoded.rejects)]) >= rows[1]:
                        return
                    decoded = _only(decoded, rows[0], rows[1])
                run.add(item, decoded)
                run.rejects += [
                    self._reject(split, item, reject.row, reject.error, reject.reason) for reject in decoded.rejects
                ]
        except RejectRecord as error:
            if rows is None or rows[0] == 0:
                run.rejects.append(self._reject(split, item, 0, error.reason, str(error), whole=True))

    def _reject(self, split: Split, item: ObjectRef, row: int, error: str, reason: str, whole: bool = False) -> Reject:
        record_id = self.record_id(item, row)
        return Reject(record_id, split.source, "read", error, reason, split.attempt, time.time(), whole)


class _Run:
    """Decoded rows of successive objects, collected for one piece.

    Attributes:
        bytes: size of the content that was read.
        table_bytes: estimated size of the table.
    """

    def __init__(self, reader: FilesReader, split: Split) -> None:
        self.split = split
        self.rejects: list[Reject] = []
        self.losses: list[Loss] = []
        self.bytes = 0
        self.table_bytes = 0
        self._reader = reader
        self._tables: list[pa.Table] = []
        self._rows: list[Sequence[int]] = []
        self._items: list[ObjectRef] = []

    def add(self, item: ObjectRef, decoded: Decoded) -> None:
        """Add decoded rows of an object."""
        count = decoded.table.num_rows
        if not count:
            return
        self._tables.append(decoded.table)
        self._rows.append(decoded.rows)
        self._items.append(item)
        # small rows count too: the coordinates of many rows of one byte make a large table
        self.table_bytes += decoded.table.nbytes + count * (len(item.key) + _PROVENANCE_BYTES)

    def to_piece(self) -> Piece:
        """The piece of all rows so far."""
        table = self._table() if self._tables else NO_ROWS
        return Piece(table, tuple(self.rejects), tuple(self.losses), self.bytes)

    def _table(self) -> pa.Table:
        content = pa.concat_tables(self._tables, promote_options="permissive")
        if content.nbytes < _LARGE * len(self._tables):
            content = content.combine_chunks()
        lengths = [len(rows) for rows in self._rows]
        item_of_row = pa.array(np.repeat(np.arange(len(lengths)), lengths))
        numbers = pa.array(np.concatenate([np.asarray(rows, np.int64) for rows in self._rows])).cast(pa.string())
        prefixes = pa.array([self._reader.record_id(item, 0)[:-1] for item in self._items], pa.string())
        times = pa.array([int(item.modified * 1_000_000) for item in self._items], pa.int64())
        provenance = [
            pc.binary_join_element_wise(prefixes.take(item_of_row), numbers, ""),
            pa.repeat(pa.scalar(self.split.source), len(item_of_row)),
            pa.array([item.key for item in self._items], pa.string()).take(item_of_row),
            times.take(item_of_row).cast(pa.timestamp("us", tz="UTC")),
            pa.repeat(pa.scalar(self.split.trace_id, pa.string()), len(item_of_row)),
        ]
        schema = pa.schema([*RECORD_FIELDS, *content.schema])
        return pa.Table.from_arrays([*provenance, *content.columns], schema=schema)


def objects_of(split: Split) -> ObjectSet:
    """The typed bounds of a split of this source."""
    bounds = parse(split.bounds)
    if not isinstance(bounds, ObjectSet):
        raise ValueError(f"split {split.split_id} of source {split.source} holds no objects")
    return bounds


def _plain(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _only(decoded: Decoded, start: int, stop: int) -> Decoded:
    """The rows of the decoded piece, which ascend, that lie in the range."""
    first, last = bisect_left(decoded.rows, start), bisect_left(decoded.rows, stop)
    rejects = [reject for reject in decoded.rejects if start <= reject.row < stop]
    return Decoded(decoded.table.slice(first, last - first), decoded.rows[first:last], rejects)
