"""Micro-batches cut by cost. A batch that fails is halved down to the row that causes the failure."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from stream_infer.config import Batch
from stream_infer.contracts import Inferred
from stream_infer.errors import Fatal, Retryable
from stream_infer.models.base import Deferred
from stream_infer.models.cuda_streams import begin
from stream_infer.models.ordered_results import OrderedResults
from stream_infer.records import RESERVED


class Cut(NamedTuple):
    """The end of a micro-batch.

    Attributes:
        tokens: cost budget if the settings name none.
        padding: highest share of padding in the paid cost, 0 … 1; a row above it begins the next micro-batch, unless this one
            is still too small for a call of its own.
    """

    tokens: int
    padding: float


ON_A_DEVICE = Cut(16_384, 0.1)
# On CPUs a call starts no kernels, so small calls cost little. The tensors between two layers of a large call exceed the caches,
# and each layer takes fresh pages from the system: with BERT's and ViT's shapes a forward over 16,384 tokens takes up to a third
# longer per token.
ON_CPUS = Cut(4_096, 0.05)
_WORTHWHILE = 1 / 16  # of the budget


class Batchable(Protocol):
    """A model that answers one micro-batch at a time. It may also have `cuda_streams.Ahead.begin`."""

    @property
    def identity(self) -> str: ...

    def cost(self, prepared: pa.Table) -> np.ndarray:
        """Cost per row, shape (rows,), in a unit to which the time of a batch is proportional, such as tokens or pixels."""
        ...

    def infer(self, batch: pa.Table) -> pa.Table:
        """The model's new columns only: same rows, same order."""
        ...


class BatchedModel(Deferred, ABC):
    """Base of models that answer one micro-batch at a time: `run` cuts the rows into micro-batches of similar cost."""

    _device = "cpu"

    @property
    @abstractmethod
    def identity(self) -> str:
        """See `contracts.Model.identity`."""

    @abstractmethod
    def cost(self, prepared: pa.Table) -> np.ndarray:
        """See `Batchable.cost`."""

    @abstractmethod
    def infer(self, batch: pa.Table) -> pa.Table:
        """See `Batchable.infer`."""

    def load(self, devices: Sequence[str]) -> None:
        """Note the device. Models with weights also load them onto it."""
        self._device = devices[0]

    def run(self, prepared: pa.Table, budget: Batch) -> Inferred:
        """See `contracts.Model.run`."""
        return run_batched(self, prepared, budget, on_cpus=self._device == "cpu")


class _Begun(NamedTuple):
    """A micro-batch on the device: rows first … last - 1 of the order, and the call that waits for the answer."""

    first: int
    last: int
    answer: Callable[[], pa.Table]


@dataclass(slots=True)
class _Run:
    """The micro-batches of one table."""

    model: Batchable
    table: pa.Table
    order: np.ndarray  # indices of the rows by falling cost
    cost: np.ndarray  # in that order
    in_order: bool  # the table has that order already
    results: OrderedResults
    begun: deque[_Begun] = field(default_factory=deque)
    rejects: list[tuple[int, Exception]] = field(default_factory=list)
    batches: int = 0
    used: float = 0.0
    paid: float = 0.0

    def micro_batch(self, start: int, stop: int) -> None:
        """Begin the rows, then wait for the micro-batch before them: so the device always has a next one."""
        self._begin(start, stop)
        if len(self.begun) > 1:
            self._end()

    def end(self) -> None:
        """Wait for all micro-batches in flight."""
        while self.begun:
            self._end()

    def _begin(self, first: int, last: int) -> None:
        try:
            self.begun.append(_Begun(first, last, begin(self.model, self._rows(first, last))))
        except Exception as error:
            self.end()  # micro-batches in flight may take the memory that was missing, and earlier rows come first
            self._failed(first, last, error)

    def _end(self) -> None:
        first, last, answer = self.begun.popleft()
        try:
            result = answer()
        except Exception as error:
            self._failed(first, last, error)
            return
        _check(result, last - first, self.model)
        self.results.put(self.order[first:last], result)
        self.batches += 1
        self.used += float(self.cost[first:last].sum())
        self.paid += float(self.cost[first:last].max() * (last - first))

    def _failed(self, first: int, last: int, error: Exception) -> None:
        """Try the halves one after the other, so that memory stays that of one batch; reject a single row."""
        if isinstance(error, Retryable | Fatal) or _device_is_broken(error):
            raise error
        _release(error)
        if last - first == 1:
            self.rejects.append((int(self.order[first]), error))
            return
        self.end()
        middle = (first + last) // 2
        for start, stop in ((first, middle), (middle, last)):
            self._begin(start, stop)
            self.end()

    def _rows(self, first: int, last: int) -> pa.Table:
        # Rows are reordered batch by batch, so that a GPU can begin before all rows are reordered.
        if self.in_order:
            return self.table.slice(first, last - first)
        return self.table.take(pa.array(self.order[first:last]))


def run_batched(model: Batchable, prepared: pa.Table, batch: Batch, *, on_cpus: bool = False) -> Inferred:
    """Run a loaded model over prepared rows in micro-batches of similar cost.

    A micro-batch holds at most ``batch.rows`` rows, and rows x highest cost is at most ``batch.tokens``; it holds at
    least one row. It ends earlier when padding exceeds its limit (`Cut.padding`). On CPUs both limits are lower by default.

    Raises:
        Retryable, Fatal: from the model, unchanged.
        Fatal: the model's cost or its answer does not fit the rows.
        Exception: a device error that leaves the process unusable (a CUDA assert), unchanged; a new process is needed.
    """
    if prepared.num_rows == 0:
        return Inferred(pa.table({}), [], 0, 0.0, 0.0, np.empty(0, np.int64))
    cost = np.asarray(model.cost(prepared), dtype=np.float64)
    if cost.shape != (prepared.num_rows,) or not np.isfinite(cost).all() or (cost < 0).any():
        raise Fatal(f"{model.identity}: cost() must give one finite number of 0 or more a row; correct the model")
    order = np.argsort(-cost, kind="stable")
    in_order = bool((order == np.arange(len(order))).all())
    # Rows are taken from one chunk many times faster than from many. Rows that are in order are not taken, and not copied.
    table = prepared if in_order else prepared.combine_chunks()
    run = _Run(model, table, order, cost[order], in_order, OrderedResults(len(order), model.identity))
    for start, stop in micro_batches(run.cost, batch, ON_CPUS if on_cpus else ON_A_DEVICE):
        run.micro_batch(start, stop)
    run.end()
    columns, kept = run.results.finish()
    rejects = sorted(run.rejects, key=lambda reject: reject[0])
    padding = max(0.0, 1.0 - run.used / run.paid) if run.paid else 0.0
    return Inferred(columns, rejects, run.batches, run.used, padding, kept)


def micro_batches(costs: np.ndarray, batch: Batch, cut: Cut = ON_A_DEVICE) -> Iterator[tuple[int, int]]:
    """(start, stop) of each micro-batch of rows with falling costs."""
    start, tokens = 0, batch.tokens or cut.tokens
    while start < len(costs):
        highest = float(costs[start])  # costs fall, so the first row of a micro-batch is its longest
        # a product, because the quotient by a cost close to 0 is infinite
        fitting = batch.rows if highest * batch.rows <= tokens else max(1, int(tokens // highest))
        stop = start + _worthwhile(costs[start : start + fitting], cut.padding, tokens * _WORTHWHILE)
        yield start, stop
        start = stop


def _worthwhile(costs: np.ndarray, padding: float, least: float) -> int:
    """Number of the first costs that form a micro-batch: all, or those until padding exceeds its share after ``least`` is paid."""
    paid = costs[0] * np.arange(1, len(costs) + 1)
    wasteful = (paid - np.cumsum(costs) > padding * paid) & (paid > least)
    return int(wasteful.argmax()) if wasteful.any() else len(costs)


def _check(result: pa.Table, rows: int, model: Batchable) -> None:
    if not isinstance(result, pa.Table):
        raise Fatal(f"{model.identity}: infer() returned {type(result).__name__}; return a pyarrow Table")
    if result.num_rows != rows:
        raise Fatal(
            f"{model.identity}: infer() returned {result.num_rows} rows for {rows}; return one row for each, in order"
        )
    reserved_columns = sorted(RESERVED.intersection(result.column_names))
    if reserved_columns:
        raise Fatal(
            f"{model.identity}: its column {reserved_columns[0]!r} is a provenance column's name; rename it in the model"
        )


def _device_is_broken(error: Exception) -> bool:
    # After such an error every later call in this process fails too, and good rows would be rejected.
    kind = type(error)
    from_torch = kind.__module__.partition(".")[0] == "torch" and kind.__name__ == "AcceleratorError"
    message = str(error)
    return not _out_of_memory(error) and (from_torch or (kind is RuntimeError and message.startswith("CUDA error")))


def _out_of_memory(error: BaseException) -> bool:
    return type(error).__name__ == "OutOfMemoryError" or "CUDA error: out of memory" in str(error)


def _release(error: BaseException) -> None:
    # A traceback keeps its frames alive, and with them the tensors of the batch, as long as the reject exists.
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        current.__traceback__ = None
        current = current.__cause__ or current.__context__
    torch = sys.modules.get("torch")
    if torch is not None and _out_of_memory(error):
        torch.cuda.empty_cache()  # does nothing where CUDA was never initialised
