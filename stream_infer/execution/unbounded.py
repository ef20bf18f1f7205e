"""The endless source of a Ray Data execution: the only module that touches Ray Data's private parts.

Checked against Ray 2.60.0; `tests/execution/test_unbounded.py` names that version. Seven things of Ray are used that it
does not promise: a logical operator may be registered in ``Planner._DEFAULT_PLAN_FNS``; the scheduling loop calls
``refresh_state`` of each operator once a step; an operator that has not completed keeps the execution alive; map
operators keep block statistics in ``_output_blocks_stats``, which would grow for ever here; actor pools say their
size in ``_actor_pool.num_running_actors()``; the loop asks ``ray.wait`` for ALL running tasks, for
``WAIT_FOR_TASK_COMPLETION_TIMEOUT_S``, before it looks at those that are done; and a thread fetches the metadata of blocks,
for which the loop does not wait, unless ``_PREFETCH_ON_THREAD`` is off.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import ray
from ray.data import DataContext, Dataset
from ray.data._internal.execution import metadata_fetcher, streaming_executor_state
from ray.data._internal.execution.interfaces import BlockEntry, PhysicalOperator, RefBundle
from ray.data._internal.execution.operators.input_data_buffer import InputDataBuffer
from ray.data._internal.logical.interfaces import LogicalOperator, LogicalPlan, SourceOperator
from ray.data._internal.planner.planner import Planner
from ray.data._internal.stats import DatasetStats
from ray.data.block import BlockMetadata

CHECKED_VERSION = "2.60.0"
_IDLE_SECONDS = 1.0  # how often an idle loop looks at Ray's own housekeeping (autoscaling down)
_SILENT_SECONDS = 10.0  # a loop that does not turn for so long has ended
_BUSY_SECONDS = 0.02  # work is in flight but no task runs: actors are starting
_COUNT_SECONDS = 0.5
_STATISTICS_KEPT = 256
# How long the loop waits while tasks run and none ends: how late it may notice a new split. Each turn takes milliseconds of
# a core, so it is short only for few splits, which somebody may wait for.
_TURN_SECONDS = (0.02, 0.25)
_FEW = 2  # blocks in the execution


class Feed:
    """A thread-safe queue of one-block bundles that the execution reads until it is closed and empty."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.actors: tuple[int, ...] = ()  # of each stage, told by the execution
        self._bundles: deque[RefBundle] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._open = 0
        self._turned_at = time.monotonic()

    def push(self, block: pa.Table) -> None:
        """Add one block. The execution wakes at once."""
        metadata = BlockMetadata(num_rows=block.num_rows, size_bytes=block.nbytes, input_files=None, exec_stats=None)
        bundle = RefBundle(
            blocks=(BlockEntry(ref=ray.put(block), metadata=metadata),), schema=self.schema, owns_blocks=False
        )
        with self._changed:
            self._bundles.append(bundle)
            self._open += 1
            self._changed.notify_all()

    def done(self, blocks: int) -> None:
        """So many blocks came out at the other end."""
        with self._changed:
            self._open -= blocks

    def turn(self) -> float:
        """The scheduling loop turns: seconds that it may wait for one of the running tasks to end."""
        self._turned_at = time.monotonic()
        shortest, longest = _TURN_SECONDS
        return shortest if self._open <= _FEW else longest

    def close(self) -> None:
        """No more blocks: the execution ends when those that are in it have come out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def ready(self) -> bool:
        return bool(self._bundles)

    def pop(self) -> RefBundle:
        return self._bundles.popleft()

    def exhausted(self) -> bool:
        return self._closed and not self._bundles

    def await_open(self) -> None:
        """Return when a block may come out: Ray looks for one a hundred times a second, which idle takes a hundredth of a core.

        Also when nothing more comes, or the scheduling loop has ended without having been told to.
        """
        with self._changed:
            while not (self._open or self._closed or time.monotonic() - self._turned_at > _SILENT_SECONDS):
                self._changed.wait(_SILENT_SECONDS)

    def rest(self) -> None:
        """Return when there is something to do, or after a while. Keeps an idle scheduling loop from spinning."""
        with self._changed:
            if not self._bundles and not self._closed:
                self._changed.wait(_BUSY_SECONDS if self._open else _IDLE_SECONDS)


class Waits:
    """Stands for ``ray`` in the module of the scheduling loop, which asks it for nothing but `wait`."""

    def __init__(self) -> None:
        self._left: list[set[int]] = [set(), set()]  # what was ready the last two times

    def wait(
        self, refs: list[Any], *, num_returns: int, fetch_local: bool, timeout: float
    ) -> tuple[list[Any], list[Any]]:
        """``ray.wait``, but over as soon as any of them is ready that the loop has not left alone twice.

        What it leaves alone is held back by backpressure, and would keep the loop spinning.
        """
        ready, rest = ray.wait(refs, num_returns=num_returns, fetch_local=fetch_local, timeout=0)
        held = {id(ref) for ref in ready}
        if rest and held <= self._left[0] & self._left[1]:
            ray.wait(refs, num_returns=len(ready) + 1, fetch_local=fetch_local, timeout=timeout)
            ready, rest = ray.wait(refs, num_returns=num_returns, fetch_local=fetch_local, timeout=0)
            held = {id(ref) for ref in ready}
        self._left = [held, self._left[0]]
        return ready, rest


@dataclass(frozen=True, repr=False, eq=False)
class _Unbounded(LogicalOperator, SourceOperator):
    feed: Feed
    _input_dependencies: list[LogicalOperator] = field(init=False, repr=False, default_factory=list)

    def output_data(self) -> None:
        return None

    @property
    def num_outputs(self) -> None:
        return None

    def infer_metadata(self) -> BlockMetadata:
        return BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)

    def infer_schema(self) -> pa.Schema:
        return self.feed.schema

    def is_lineage_serializable(self) -> bool:
        return False  # it holds object references


class _UnboundedBuffer(InputDataBuffer):
    def __init__(self, context: DataContext, feed: Feed) -> None:
        super().__init__(context, input_data=[])
        self._estimated_num_output_bundles = None
        self._feed = feed
        self._counted_at = 0.0

    def has_next(self) -> bool:
        return self._feed.ready()

    def _get_next_inner(self) -> RefBundle:
        bundle = self._feed.pop()
        self._metrics.on_input_received(bundle)
        return bundle

    def has_execution_finished(self) -> bool:
        return self._feed.exhausted()

    def has_completed(self) -> bool:
        return self._feed.exhausted()

    def refresh_state(self) -> None:
        super().refresh_state()
        running = False
        self._count_actors()
        for operator in _downstream(self):
            running = running or operator.num_active_tasks() > 0 or operator.has_next()
            statistics = getattr(operator, "_output_blocks_stats", None)
            if statistics is not None and len(statistics) > _STATISTICS_KEPT:
                statistics.clear()
        streaming_executor_state.WAIT_FOR_TASK_COMPLETION_TIMEOUT_S = self._feed.turn()
        if not running:
            self._feed.rest()

    def _count_actors(self) -> None:
        now = time.monotonic()
        if now - self._counted_at >= _COUNT_SECONDS:
            self._counted_at = now
            pools = (getattr(operator, "_actor_pool", None) for operator in _downstream(self))
            self._feed.actors = tuple(pool.num_running_actors() for pool in pools if pool is not None)


def _downstream(operator: PhysicalOperator) -> Iterator[PhysicalOperator]:
    for following in operator.output_dependencies:
        yield following
        yield from _downstream(following)


def _plan_unbounded(logical: _Unbounded, _inputs: list[PhysicalOperator], context: DataContext) -> PhysicalOperator:
    return _UnboundedBuffer(context, logical.feed)


def unbounded(feed: Feed) -> Dataset:
    """A dataset of whatever is pushed into the feed, until the feed is closed."""
    Planner._DEFAULT_PLAN_FNS.setdefault(_Unbounded, _plan_unbounded)
    streaming_executor_state.ray = Waits()
    metadata_fetcher._PREFETCH_ON_THREAD = False
    context = DataContext.get_current().copy()
    context.target_max_block_size = None  # one block in, one block out
    context.execution_no_progress_timeout_s = -1  # a quiet stream is not a stuck one
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.memory_usage_poll_interval_s = None  # a thread for each task, for a figure that nobody reads
    stats = DatasetStats(metadata={"Unbounded": []}, parent=None)
    return Dataset(LogicalPlan(_Unbounded(feed), context), context, stats)


def mapped(dataset: Dataset, stage: type, arguments: dict[str, Any], **options: Any) -> Dataset:
    """One stage: each block goes whole through an actor of ``stage``, GPU stages included.

    `Dataset.map_batches` refuses whole blocks (``batch_size=None``) together with GPUs; its internal twin does not.
    """
    return dataset.map_batches_internal(
        stage, batch_size=None, batch_format="pyarrow", fn_constructor_kwargs=arguments, **options
    )


def blocks(dataset: Dataset, feed: Feed) -> Iterator[pa.Table]:
    """The blocks as they come out. Ends when the feed was closed and everything has come out."""
    bundles = dataset.iter_internal_ref_bundles()
    while True:
        feed.await_open()
        bundle = next(bundles, None)
        if bundle is None:
            return
        feed.done(len(bundle.blocks))
        for entry in bundle.blocks:
            yield ray.get(entry.ref)
