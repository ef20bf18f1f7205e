"""An endless dataset: its source is a queue that stays open until the execution is closed."""

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
from ray.data.block import BlockMetadata

from stream_infer.execution.executor import use_executor
from stream_infer.execution.ray_private import (
    BlockEntry,
    DatasetStats,
    InputDataBuffer,
    LogicalOperator,
    LogicalPlan,
    Planner,
    RefBundle,
    SourceOperator,
)

_IDLE_SECONDS = 1.0  # longest sleep of an idle loop, which also does Ray's own housekeeping (scaling pools down)
_SILENT_SECONDS = 10.0  # time without a step after which the loop has ended
_BUSY_SECONDS = 0.02  # sleep while splits are in the execution but no task runs: actors are starting
_COUNT_SECONDS = 0.5
_STATISTICS_KEPT = 256
# Longest wait of the loop for a running task, and so the longest delay of a new split. A step takes milliseconds of a core. So
# the wait is short only while few splits are in the execution, when latency matters.
_TASK_WAIT_SECONDS = (0.02, 0.25)
_FEW_BLOCKS = 2


class Feed:
    """A thread-safe queue of one-block bundles that the execution reads until it is closed and empty."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.actors: tuple[int, ...] = ()  # running actors by pool
        self._bundles: deque[RefBundle] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._open = 0
        self._iterated_at = time.monotonic()

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
        """Note that this number of blocks has come out of the execution."""
        with self._changed:
            self._open -= blocks

    def note_iteration(self) -> None:
        """Record the time of an iteration of the scheduling loop."""
        self._iterated_at = time.monotonic()

    def task_wait_seconds(self) -> float:
        """Seconds that the scheduling loop may wait for a running task."""
        shortest, longest = _TASK_WAIT_SECONDS
        return shortest if self._open <= _FEW_BLOCKS else longest

    def close(self) -> None:
        """Accept no more blocks; the execution ends when all of them have come out."""
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
        """Return when blocks are in the execution, when the feed is closed, or when the scheduling loop has ended by itself.

        Ray's iterator polls a hundred times a second, which takes a hundredth of an idle core.
        """
        with self._changed:
            while not (self._open or self._closed or time.monotonic() - self._iterated_at > _SILENT_SECONDS):
                self._changed.wait(_SILENT_SECONDS)

    def rest(self) -> None:
        """Return when a block was pushed, or after a while. Keeps an idle scheduling loop from spinning."""
        with self._changed:
            if not self._bundles and not self._closed:
                self._changed.wait(_BUSY_SECONDS if self._open else _IDLE_SECONDS)


@dataclass(frozen=True, repr=False, eq=False)
class _Unbounded(LogicalOperator, SourceOperator):
    """The logical source. No other dataset has this class, by which Ray chooses the function that plans it."""

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
    """The physical source: hands out the blocks of the feed, and sleeps in the scheduling loop while nothing runs."""

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
        self._feed.note_iteration()
        self._count_actors()
        running = False
        for operator in _downstream(self):
            running = running or operator.num_active_tasks() > 0 or operator.has_next()
            statistics = getattr(operator, "_output_blocks_stats", None)
            if statistics is not None and len(statistics) > _STATISTICS_KEPT:
                statistics.clear()
        if not running:
            self._feed.rest()

    def _count_actors(self) -> None:
        now = time.monotonic()
        if now - self._counted_at >= _COUNT_SECONDS:
            self._counted_at = now
            pools = (getattr(operator, "_actor_pool", None) for operator in _downstream(self))
            self._feed.actors = tuple(pool.num_running_actors() for pool in pools if pool is not None)


def _downstream(operator: Any) -> Iterator[Any]:
    for following in operator.output_dependencies:
        yield following
        yield from _downstream(following)


def _plan_unbounded(logical: _Unbounded, _inputs: list[Any], context: DataContext) -> Any:
    return _UnboundedBuffer(context, logical.feed)


def unbounded(feed: Feed) -> Dataset:
    """The dataset of all blocks that are pushed into the feed until it is closed."""
    Planner._DEFAULT_PLAN_FNS.setdefault(_Unbounded, _plan_unbounded)
    context = DataContext.get_current().copy()
    context.target_max_block_size = None  # one block in, one block out
    context.execution_no_progress_timeout_s = -1  # a stream without records makes no progress either
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.memory_usage_poll_interval_s = None  # otherwise each task has a thread that measures its memory
    context.use_legacy_dataset_ids = False  # the old ids come from an actor
    stats = DatasetStats(metadata={"Unbounded": []}, parent=None)
    return Dataset(LogicalPlan(_Unbounded(feed), context), context, stats)


def mapped(dataset: Dataset, stage: type, arguments: dict[str, Any], **options: Any) -> Dataset:
    """The dataset with an actor pool behind it: each block goes whole through one actor of the class ``stage``.

    `Dataset.map_batches` refuses whole blocks (``batch_size=None``) together with GPUs; its internal twin does not.
    """
    return dataset.map_batches_internal(
        stage, batch_size=None, batch_format="pyarrow", fn_constructor_kwargs=arguments, **options
    )


def blocks(dataset: Dataset, feed: Feed) -> Iterator[pa.Table]:
    """Start the execution and yield its blocks as they come out, until the feed is closed and all have come out."""
    use_executor(dataset, feed.task_wait_seconds)
    bundles = dataset.iter_internal_ref_bundles()
    while True:
        feed.await_open()
        bundle = next(bundles, None)
        if bundle is None:
            return
        feed.done(len(bundle.blocks))
        for entry in bundle.blocks:
            yield ray.get(entry.ref)
