"""The contract of models and preprocessors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:  # the settings import the contracts of the plugins
    from stream_infer.config import Batch


@dataclass(frozen=True, slots=True)
class Inferred:
    """The answers of a model to one prepared table.

    Attributes:
        columns: the model's columns for the good rows, in the order of the input.
        rejects: (row index, error) of the rows that failed alone, by index.
        batches: micro-batches that gave rows.
        cost: cost of the good rows, in the model's units.
        padding: share of the paid cost that was padding, 0 … 1, over those batches.
        kept: indices of the rows in ``columns``, ascending, shape (columns.num_rows,).
    """

    columns: pa.Table
    rejects: Sequence[tuple[int, Exception]]
    batches: int
    cost: float
    padding: float
    kept: np.ndarray


class Model(Protocol):
    """A model, in two halves: `warm` and `prepare` run in CPU actors, `load` and `run` where the devices are.

    Picklable until `warm` or `load`. `models.batching.BatchedModel` implements `run` by micro-batches for a model that
    has ``cost(prepared)`` and ``infer(batch)``.
    """

    def warm(self) -> None:
        """Load what `prepare` needs (a tokenizer, an image processor); once per CPU actor."""
        ...

    def prepare(self, records: pa.Table) -> pa.Table:
        """The records with model inputs added (tokens, pixels): same rows, same order.

        Raises:
            RejectRecord: when given one row that cannot be prepared; with more rows the caller tries them one by one.
        """
        ...

    def load(self, devices: Sequence[str]) -> None:
        """Load the weights onto the devices, ``cpu`` or one or more ``cuda:N``; once per replica, before `run`."""
        ...

    def run(self, prepared: pa.Table, budget: Batch) -> Inferred:
        """The answers to the prepared rows; a row that fails alone is a reject.

        Args:
            budget: most rows and most cost that are computed together.

        Raises:
            Retryable, Fatal: these say nothing about a row.
            Exception: a device error that leaves the process unusable; a new process starts.
        """
        ...

    @property
    def identity(self) -> str:
        """``name@digest`` of what made the rows, for the column ``model``; the digest covers weights and code settings."""
        ...

    @property
    def reads(self) -> frozenset[str] | None:
        """Columns of a prepared table that `run` reads; None: any. The others do not travel to the device."""
        ...

    @property
    def weights(self) -> int | None:
        """Bytes of weights per replica, for the number of replicas; None where that is unknown before `load`."""
        ...


@runtime_checkable
class TablePreprocessor(Protocol):
    """User code before the model: a table of records in, a table with the same rows out."""

    def __call__(self, records: pa.Table) -> pa.Table: ...
