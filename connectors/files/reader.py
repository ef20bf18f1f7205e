"""The worker's side of files: objects become tables of records."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from connectors.files.store import Store
from stream_infer import config
from stream_infer.contracts import ReadOutcome
from stream_infer.decode import Decoded, decode, one_record
from stream_infer.errors import Lost, RejectRecord
from stream_infer.records import RECORD_FIELDS, ObjectCoordinate
from stream_infer.splits import Loss, Reject, Split

_FETCHES = 32
_WINDOW = 128  # objects fetched before any is decoded
_TABLE_BYTES = 32 * 2**20
Described = Mapping[str, Any]


class FilesReader:
    """Implements `contracts.Reader`. Reads are pinned to the version that was planned."""

    def __init__(self, store: Store, kind: str, limits: config.Limits) -> None:
        self._store = store
        self._kind = kind
        self._limits = limits

    def read(self, split: Split, outcome: ReadOutcome) -> Iterator[pa.Table]:
        """See `contracts.Reader.read`."""
        rows = split.bounds.get("rows")
        table = _Growing(self, split)
        with ThreadPoolExecutor(_FETCHES, thread_name_prefix="fetch") as pool:
            for window in _windows(split.bounds["objects"]):
                for item, content in zip(window, pool.map(self._fetch, window), strict=True):
                    if isinstance(content, Lost):
                        start, stop = rows or (0, 1)
                        first = self.record_id(item, start)
                        outcome.losses.append(Loss(first, split.source, content.reason, stop - start))
                        continue
                    if isinstance(content, RejectRecord):
                        outcome.rejects.append(self._reject(split, item, 0, content.reason, str(content)))
                        continue
                    outcome.bytes += len(content)
                    self._decode_into(table, item, content, rows, outcome)
                    if table.bytes >= _TABLE_BYTES:
                        yield table.taken()
        if table.count:
            yield table.taken()

    def record_id(self, item: Described, row: int) -> str:
        """The coordinate of one row of an object."""
        return str(ObjectCoordinate(self._store.scheme, self._store.bucket, item["key"], item["version"], row))

    def count_rows(self, item: Described) -> int:
        """How many rows an object holds, rejected ones included; 1 when it cannot be read. Raises Retryable."""
        if one_record(self._kind, item["key"]):
            return 1
        content = self._fetch(item)
        if not isinstance(content, bytes):
            return 1
        last = 0
        try:
            for piece in decode(self._kind, content, item["key"], self._limits):
                last = max([last, *piece.rows, *(reject.row for reject in piece.rejects)])
        except RejectRecord:
            return 1
        return last + 1

    def _fetch(self, item: Described) -> bytes | Lost | RejectRecord:
        if item["size"] > self._limits.record_bytes:
            return RejectRecord(f"{item['size']} bytes are more than limits.record_bytes", reason="too_large")
        try:
            return self._store.get(item["key"], item["version"])
        except Lost as error:
            return error

    def _decode_into(
        self, table: _Growing, item: Described, content: bytes, rows: Sequence[int] | None, outcome: ReadOutcome
    ) -> None:
        split = table.split
        try:
            for piece in decode(self._kind, content, item["key"], self._limits):
                if rows is not None:
                    piece = _only(piece, rows[0], rows[1])
                table.add(item, piece)
                outcome.rejects += [
                    self._reject(split, item, reject.row, reject.error, reject.reason) for reject in piece.rejects
                ]
        except RejectRecord as error:
            if rows is None or rows[0] == 0:
                outcome.rejects.append(self._reject(split, item, 0, error.reason, str(error)))

    def _reject(self, split: Split, item: Described, row: int, error: str, reason: str) -> Reject:
        return Reject(self.record_id(item, row), split.source, "read", error, reason, split.attempt, time.time())


class _Growing:
    """Pieces of many objects on their way into one table."""

    def __init__(self, reader: FilesReader, split: Split) -> None:
        self.split = split
        self.bytes = 0
        self.count = 0
        self._reader = reader
        self._pieces: list[pa.Table] = []
        self._ids: list[str] = []
        self._keys: list[str] = []
        self._times: list[int] = []

    def add(self, item: Described, piece: Decoded) -> None:
        rows = piece.table.num_rows
        if not rows:
            return
        self._pieces.append(piece.table)
        self._ids += [self._reader.record_id(item, row) for row in piece.rows]
        self._keys += [item["key"]] * rows
        self._times += [int(item["modified"] * 1_000_000)] * rows
        self.count += rows
        self.bytes += piece.table.nbytes

    def taken(self) -> pa.Table:
        content = pa.concat_tables(self._pieces, promote_options="permissive").combine_chunks()
        count = self.count
        provenance: list[Any] = [
            self._ids,
            [self.split.source] * count,
            self._keys,
            self._times,
            [self.split.trace_id] * count,
        ]
        arrays = [pa.array(values, field.type) for values, field in zip(provenance, RECORD_FIELDS, strict=True)]
        table = pa.Table.from_arrays([*arrays, *content.columns], schema=pa.schema([*RECORD_FIELDS, *content.schema]))
        self._pieces, self._ids, self._keys, self._times = [], [], [], []
        self.bytes = self.count = 0
        return table


def _windows(objects: Sequence[Described]) -> Iterator[Sequence[Described]]:
    """Objects to fetch together: many small ones, few large ones."""
    window: list[Described] = []
    size = 0
    for item in objects:
        if window and (len(window) == _WINDOW or size + item["size"] > _TABLE_BYTES):
            yield window
            window, size = [], 0
        window.append(item)
        size += item["size"]
    if window:
        yield window


def _only(piece: Decoded, start: int, stop: int) -> Decoded:
    chosen = [index for index, row in enumerate(piece.rows) if start <= row < stop]
    rejects = [reject for reject in piece.rejects if start <= reject.row < stop]
    return Decoded(piece.table.take(pa.array(chosen, pa.int64())), [piece.rows[index] for index in chosen], rejects)
