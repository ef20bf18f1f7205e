"""The three kinds of stages: read, infer and write."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stream_infer import config, crash
from stream_infer.contracts import ORIGINS, Inferred, Model, Piece, Reader, Sink, joined
from stream_infer.errors import ConfigError, Oversized, RejectRecord
from stream_infer.records import OUTPUT_FIELDS, RECORD_COLUMNS
from stream_infer.search_path import load_named
from stream_infer.splits import Reject, Split
from stream_infer.stages import READ_DEMAND, WRITE_DEMAND, Demand
from stream_infer.tasks import Done, Outcome, Task
from stream_infer.worker.bisect import bisect_failures


class ReadStage:
    """Fetch, decode, preprocess and prepare: the work on records that needs no device.

    Columns that neither a model nor the output needs are dropped.

    Args:
        preprocess: ``package.module:function`` of the setting ``preprocess``.
        models: all models of the pipeline; each prepares its own columns.
        keep: input columns in the output.
        folders: folders in which the user's code is importable.
        max_bytes: the setting ``limits.decoded``.
    """

    name = "read"
    demand = READ_DEMAND

    def __init__(
        self,
        readers: Mapping[str, Reader],
        preprocess: str | None,
        models: Sequence[Model],
        keep: Sequence[str],
        folders: Sequence[str],
        max_bytes: int,
    ) -> None:
        self._readers = readers
        self._keep = tuple(keep)
        self._max_bytes = max_bytes
        self._path = preprocess
        self._models = tuple(models)
        self._folders = folders
        self._preprocess: Callable[[pa.Table], pa.Table] | None = None

    def setup(self, devices: Sequence[str]) -> None:
        """Load the preprocessor and what the models need to prepare records."""
        if self._path is not None:
            self._preprocess = load_function(self._path, self._folders)
        for model in self._models:
            model.warm()

    def run(self, task: Task) -> Outcome:
        """The task with its records, prepared for the first model."""
        split = task.split
        began = time.time()
        piece = self._fetch(split)
        rows, rejects = piece.table, list(piece.rejects)
        received = rows.num_rows + len(rejects) + sum(loss.records for loss in piece.losses)
        oldest = oldest_event(rows)
        fetched = time.time()
        for function in (self._preprocess, *(model.prepare for model in self._models)):
            if function is not None and rows.num_rows:
                record_ids = rows.column("record_id")
                rows, failures = bisect_failures(function, rows)
                rejects += rejects_of(split, self.name, record_ids, failures)
        rows = self._needed(rows)
        trail = replace(
            task.trail,
            timestamps={**task.trail.timestamps, "fetch": (began, fetched), "prepare": (fetched, time.time())},
            oldest=oldest,
            origins=piece.origins[:ORIGINS],
            more_origins=max(0, len(piece.origins) - ORIGINS),
        )
        return Done(
            replace(
                task,
                rows=rows,
                rejects=tuple(rejects),
                losses=piece.losses,
                received=received,
                bytes_in=piece.bytes,
                trail=trail,
            )
        )

    def _fetch(self, split: Split) -> Piece:
        """All content of the split. Raises Oversized if it exceeds the limit when decoded."""
        pieces, size = [], 0
        for piece in self._readers[split.source].read(split):
            size += piece.table.nbytes
            if size > self._max_bytes:
                raise Oversized(f"more than limits.decoded ({self._max_bytes} bytes) when decoded")
            pieces.append(piece)
        crash.point("read.decoded")
        return joined(pieces)

    def _needed(self, rows: pa.Table) -> pa.Table:
        """The rows without the columns that are not needed. Raises ConfigError if a column of ``sink.keep`` is missing."""
        if not rows.num_rows:
            return rows
        missing_columns = sorted(set(self._keep) - set(rows.column_names))
        if missing_columns:
            raise ConfigError(
                f"sink.keep: the records have no column {missing_columns[0]!r}; they have {', '.join(rows.column_names)}"
            )
        needed = {*RECORD_COLUMNS, *self._keep}
        for model in self._models:
            if model.reads is None:
                return rows
            needed |= model.reads
        return rows.select([name for name in rows.column_names if name in needed])


class InferStage:
    """Inference with one model; columns that later stages do not need are dropped.

    Args:
        name: ``infer``, or ``infer:NAME`` where a pipeline has several models.
        keep: input columns for later stages; None: all, because a later model may read any of them.
    """

    def __init__(
        self, model: Model, budget: config.Batch, keep: Sequence[str] | None, demand: Demand, name: str = "infer"
    ) -> None:
        self.name = name
        self.demand = demand
        self._model = model
        self._budget = budget
        self._keep = None if keep is None else frozenset(keep)
        self._identity = ""

    def setup(self, devices: Sequence[str]) -> None:
        """Load the model onto the devices and read its identity, which hashes the files of the weights once."""
        self._model.load(devices)
        self._identity = self._model.identity

    def run(self, task: Task) -> Outcome:
        """The task with the model's columns; rows on which the model failed become rejects."""
        identity = f"{task.model}+{self._identity}" if task.model else self._identity
        rows = task.rows
        if not rows.num_rows:
            return Done(replace(task, model=identity))
        with crash.around("infer.model"):
            inferred = self._model.run(rows, self._budget)
        failures = rejects_of(task.split, self.name, rows.column("record_id"), inferred.rejects)
        cost = task.cost + inferred.cost
        return Done(
            replace(
                task,
                rows=self._output(task, inferred),
                rejects=(*task.rejects, *failures),
                answers=(*task.answers, *inferred.columns.column_names),
                inferences=task.inferences + len(inferred.kept),
                batches=task.batches + inferred.batches,
                cost=cost,
                padding=(task.padding * task.cost + inferred.padding * inferred.cost) / cost if cost else 0.0,
                model=identity,
            )
        )

    def _output(self, task: Task, inferred: Inferred) -> pa.Table:
        """The answered rows with the columns for later stages, the model's columns last."""
        rows = task.rows
        if self._keep is not None:
            needed = self._keep.union(RECORD_COLUMNS, task.answers)
            rows = rows.select([name for name in rows.column_names if name in needed])
        if len(inferred.kept) < rows.num_rows:
            rows = rows.take(pa.array(np.asarray(inferred.kept)))
        for name in inferred.columns.column_names:
            if name in rows.column_names:
                raise ConfigError(f"sink.keep: the model's own column {name!r} has that name; do not keep the input's")
            rows = rows.append_column(inferred.columns.field(name), inferred.columns.column(name))
        return rows


class WriteStage:
    """Creation of the split's file with its receipt inside."""

    name = "write"
    demand = WRITE_DEMAND

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def setup(self, devices: Sequence[str]) -> None:
        """Load nothing."""
        return

    def run(self, task: Task) -> Outcome:
        """The task with the receipt of its file."""
        rows = stamped(task.rows, task.split.split_id, task.model)
        return Done(replace(task, receipt=self._sink.write(task.split, rows, task.draft_receipt())))


def oldest_event(rows: pa.Table) -> float | None:
    """Event time of the oldest record, None if no record has one."""
    moment = pc.min(rows.column("event_time")).as_py() if "event_time" in rows.column_names else None
    return None if moment is None else float(moment.timestamp())


def stamped(rows: pa.Table, split_id: str, model: str) -> pa.Table:
    """The rows in the form of the output: `records.OUTPUT_FIELDS` first, then the model's columns."""
    if not rows.num_columns:
        return pa.schema(OUTPUT_FIELDS).empty_table()
    count = rows.num_rows
    constants: dict[str, Any] = {
        "processed_at": pa.repeat(pa.scalar(datetime.now(UTC), pa.timestamp("us", tz="UTC")), count),
        "split_id": pa.repeat(pa.scalar(split_id), count),
        "model": pa.repeat(pa.scalar(model), count),
    }
    fields = list(OUTPUT_FIELDS)
    columns = [
        constants[field.name] if field.name in constants else rows.column(field.name).cast(field.type)
        for field in fields
    ]
    for name in rows.column_names:
        if name not in RECORD_COLUMNS:
            fields.append(rows.schema.field(name))
            columns.append(rows.column(name))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def rejects_of(
    split: Split, stage: str, record_ids: pa.ChunkedArray, failures: Sequence[tuple[int, Exception]]
) -> list[Reject]:
    """Rejects of the records at the (row index, error) pairs."""
    return [reject_of(split, stage, error, record_ids[index].as_py()) for index, error in failures]


def reject_of(split: Split, stage: str, error: Exception, record_id: str = "") -> Reject:
    """The reject of one record, or of the whole split, with the error as its reason in one line."""
    text = " ".join(str(error).split()) or "no message"
    name = error.reason if isinstance(error, RejectRecord) else type(error).__name__
    return Reject(record_id, split.source, stage, name, text[:1000], split.attempt, time.time())


def load_function(path: str, folders: Sequence[str]) -> Callable[[pa.Table], pa.Table]:
    """The function ``package.module:name`` of the setting ``preprocess``.

    Raises:
        ConfigError: there is no such function.
    """
    try:
        function = load_named(path, folders)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"preprocess: cannot load {path!r} ({error}); write package.module:function") from None
    if not callable(function):
        raise ConfigError(f"preprocess: {path!r} cannot be called; name a function")
    preprocess: Callable[[pa.Table], pa.Table] = function
    return preprocess
