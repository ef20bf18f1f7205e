"""The three kinds of stages that a split goes through."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stream_infer import config, crash
from stream_infer.contracts import ORIGINS, Model, Reader, Sink, joined
from stream_infer.errors import ConfigError, Oversized, RejectRecord
from stream_infer.models.batching import run_batched
from stream_infer.records import OUTPUT_FIELDS, RECORD_COLUMNS
from stream_infer.search_path import importable
from stream_infer.splits import Reject, Split
from stream_infer.worker.bisect import bisect_failures
from stream_infer.worker.task import Batch


class ReadStage:
    """Fetch, decode, preprocess and prepare: everything that needs no device. Leaves only what the model reads or the
    output carries."""

    name = "read"

    def __init__(
        self,
        readers: Mapping[str, Reader],
        preprocess: str | None,
        model: Model,
        keep: Sequence[str],
        folders: Sequence[str],
        most_bytes: int,
    ) -> None:
        self._readers = readers
        self._keep = tuple(keep)
        self._most_bytes = most_bytes
        self._path = preprocess
        self._model = model
        self._folders = folders
        self._preprocess: Callable[[pa.Table], pa.Table] | None = None

    def setup(self) -> None:
        if self._path is not None:
            self._preprocess = load_function(self._path, self._folders)
        self._model.warm()

    def run(self, batch: Batch) -> Batch:
        split = batch.split
        started = time.time()
        pieces, size = [], 0
        for piece in self._readers[split.source].read(split):
            size += piece.table.nbytes
            if size > self._most_bytes:
                raise Oversized(f"more than limits.decoded ({self._most_bytes} bytes) when decoded")
            pieces.append(piece)
        crash.point("read.decoded")
        read = joined(pieces)
        rows = read.table
        rejects = list(read.rejects)
        batch.received = rows.num_rows + len(rejects) + sum(loss.records for loss in read.losses)
        batch.oldest = oldest_event(rows)
        prepared = time.time()
        for function in (self._preprocess, self._model.prepare):
            if function is not None and rows.num_rows:
                identities = rows.column("record_id")
                rows, failures = bisect_failures(function, rows)
                rejects += rejected(split, self.name, identities, failures)
        batch.rows = self._needed(rows)
        batch.rejects = rejects
        batch.losses = list(read.losses)
        batch.bytes_in = read.bytes
        batch.origins, batch.more_origins = list(read.origins[:ORIGINS]), max(0, len(read.origins) - ORIGINS)
        batch.marks |= {"fetch": [started, prepared], "prepare": [prepared, time.time()]}
        return batch

    def _needed(self, rows: pa.Table) -> pa.Table:
        """Raises ConfigError for a column that the output is to carry and that is not there."""
        if not rows.num_rows:
            return rows
        missing = sorted(set(self._keep) - set(rows.column_names))
        if missing:
            raise ConfigError(
                f"sink.keep: the records have no column {missing[0]!r}; they have {', '.join(rows.column_names)}"
            )
        reads = self._model.reads
        if reads is None:
            return rows
        wanted = reads.union(self._keep, RECORD_COLUMNS)
        return rows.select([name for name in rows.column_names if name in wanted])


class InferStage:
    """Micro-batches by cost through the model; leaves only what the output carries."""

    name = "infer"

    def __init__(self, model: Model, settings: config.Batch, keep: Sequence[str], device: str) -> None:
        self._model = model
        self._settings = settings
        self._keep = tuple(keep)
        self._device = device
        self._identity = ""

    def setup(self) -> None:
        self._model.load(self._device)
        self._identity = self._model.identity  # reads the weights' files once

    def run(self, batch: Batch) -> Batch:
        batch.model = self._identity
        if not batch.rows.num_rows:
            return batch
        rows = batch.rows
        carried = [name for name in rows.column_names if name in RECORD_COLUMNS or name in self._keep]
        with crash.around("infer.model"):
            inferred = run_batched(self._model, rows, self._settings, on_cpus=self._device == "cpu")
        output = rows.select(carried)
        if len(inferred.kept) < rows.num_rows:
            output = output.take(pa.array(np.asarray(inferred.kept)))
        for name in inferred.columns.column_names:
            if name in output.column_names:
                raise ConfigError(f"sink.keep: the model's own column {name!r} has that name; do not keep the input's")
            output = output.append_column(inferred.columns.field(name), inferred.columns.column(name))
        batch.rejects += rejected(batch.split, self.name, rows.column("record_id"), inferred.rejects)
        batch.inferences = len(inferred.kept)
        batch.batches = inferred.batches
        batch.cost = inferred.cost
        batch.padding = inferred.padding
        batch.rows = output
        return batch


class WriteStage:
    """Create the split's file with its receipt inside."""

    name = "write"

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def setup(self) -> None:
        return

    def run(self, batch: Batch) -> Batch:
        rows = stamped(batch.rows, batch.split.split_id, batch.model)
        batch.receipt = self._sink.write(batch.split, rows, batch.to_receipt())
        return batch


def oldest_event(rows: pa.Table) -> float | None:
    """Event time of the oldest record, where any has one."""
    moment = pc.min(rows.column("event_time")).as_py() if "event_time" in rows.column_names else None
    return None if moment is None else float(moment.timestamp())


def stamped(rows: pa.Table, split_id: str, model: str) -> pa.Table:
    """The rows as the output carries them: `records.OUTPUT_FIELDS` first."""
    if not rows.num_columns:
        return pa.schema(OUTPUT_FIELDS).empty_table()
    count = rows.num_rows
    made: dict[str, Any] = {
        "processed_at": pa.repeat(pa.scalar(datetime.now(UTC), pa.timestamp("us", tz="UTC")), count),
        "split_id": pa.repeat(pa.scalar(split_id), count),
        "model": pa.repeat(pa.scalar(model), count),
    }
    fields = list(OUTPUT_FIELDS)
    columns = [made[field.name] if field.name in made else rows.column(field.name).cast(field.type) for field in fields]
    for name in rows.column_names:
        if name not in RECORD_COLUMNS:
            fields.append(rows.schema.field(name))
            columns.append(rows.column(name))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def rejected(
    split: Split, stage: str, identities: pa.ChunkedArray, failures: Sequence[tuple[int, Exception]]
) -> list[Reject]:
    """Failures of rows as rejects of records."""
    return [reject_of(split, stage, error, identities[index].as_py()) for index, error in failures]


def reject_of(split: Split, stage: str, error: Exception, record_id: str = "") -> Reject:
    """A reject that tells what was raised, in one line."""
    text = " ".join(str(error).split()) or "no message"
    name = error.reason if isinstance(error, RejectRecord) else type(error).__name__
    return Reject(record_id, split.source, stage, name, text[:1000], split.attempt, time.time())


def load_function(path: str, folders: Sequence[str]) -> Callable[[pa.Table], pa.Table]:
    """The function ``package.module:name`` of the setting ``preprocess``.

    Raises:
        ConfigError: there is none.
    """
    importable(folders)
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"preprocess: cannot load {path!r} ({error}); write package.module:function") from None
    if not callable(found):
        raise ConfigError(f"preprocess: {path!r} cannot be called; name a function")
    function: Callable[[pa.Table], pa.Table] = found
    return function
