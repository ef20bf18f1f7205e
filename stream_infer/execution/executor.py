"""The executor of one execution's dataset: Ray Data's executor with another wait for tasks and, on one machine, no helpers.

All changes are made on the executor and the operators of one execution. Other datasets of the process keep Ray's behaviour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import MethodType
from typing import Any, Final

import ray
from ray.data import Dataset

from stream_infer.execution import ray_private
from stream_infer.execution.minimal_ray import NoLocationTracker, NoStatsManager, WholeMachine
from stream_infer.execution.ray_private import InlineMetadataFetcher, StreamingExecutor, UsageCallback, with_globals

_PATIENCE: Final = 2  # steps of the loop; a ready task that the loop left in place for so many is held by backpressure


class TaskWait:
    """Replacement of the module ``ray`` for one scheduling loop, which uses only its `wait`.

    Ray's loop waits until ALL running tasks are ready, or a tenth of a second. This wait ends with the first ready task.

    Args:
        timeout: returns the seconds that the loop may wait.
    """

    def __init__(self, timeout: Callable[[], float]) -> None:
        self._timeout = timeout
        self._ready: list[set[int]] = [set() for _ in range(_PATIENCE)]  # tasks of the last steps, the newest first

    def wait(
        self, refs: list[Any], *, num_returns: int, fetch_local: bool, timeout: float
    ) -> tuple[list[Any], list[Any]]:
        """``ray.wait`` that returns as soon as a task is ready, without tasks that the loop has left in place twice.

        The loop leaves a ready task in place because of backpressure, and would then run without a pause.
        """
        ready, pending = ray.wait(refs, num_returns=num_returns, fetch_local=fetch_local, timeout=0)
        ready_ids = {id(ref) for ref in ready}
        if pending and ready_ids <= set.intersection(*self._ready):
            ray.wait(refs, num_returns=len(ready) + 1, fetch_local=fetch_local, timeout=self._timeout())
            ready, pending = ray.wait(refs, num_returns=num_returns, fetch_local=fetch_local, timeout=0)
            ready_ids = {id(ref) for ref in ready}
        self._ready = [ready_ids, *self._ready[:-1]]
        return ready, pending


class Executor(StreamingExecutor):
    """The executor of one execution.

    Args:
        timeout: returns the seconds that the scheduling loop may wait for a task.
        helpers: whether to start Ray Data's helper actors: those of statistics, locations, reservations and usage reports.
    """

    def __init__(self, context: Any, dataset_id: str, timeout: Callable[[], float], helpers: bool) -> None:
        super().__init__(context, dataset_id)
        self._helpers = helpers
        self._metadata_fetcher = InlineMetadataFetcher()
        process = with_globals(ray_private.process_completed_tasks, ray=TaskWait(timeout))
        loop_iteration = with_globals(ray_private.scheduling_loop_step, process_completed_tasks=process)
        self._scheduling_loop_step = MethodType(loop_iteration, self)

    def execute(self, dag: Any, initial_stats: Any = None, callbacks: Sequence[Any] | None = None) -> Any:
        """Start the scheduling loop; returns the iterator of outputs."""
        if self._helpers:
            return super().execute(dag, initial_stats=initial_stats, callbacks=callbacks)
        for operator in _upstream(dag):
            if isinstance(operator, ray_private.ActorPoolMapOperator):
                _without_location_tracker(operator)
        start = with_globals(
            ray_private.execute,
            _StatsManager=NoStatsManager,
            create_cluster_autoscaler=lambda *_, **__: WholeMachine(),
        )
        callbacks = [callback for callback in callbacks or () if not isinstance(callback, UsageCallback)]
        return start(self, dag, initial_stats=initial_stats, callbacks=callbacks)

    def _update_stats_metrics(self, state: str, force_update: bool = False) -> None:
        if self._helpers:
            super()._update_stats_metrics(state, force_update)


def use_executor(dataset: Dataset, timeout: Callable[[], float]) -> None:
    """Run this dataset by `Executor`, without helpers on a Ray that this process has started."""

    def create() -> Executor:
        dataset._run_index += 1
        return Executor(dataset.context, dataset.get_dataset_id(), timeout, helpers=not ray_private.started_here())

    dataset._create_executor = create


def _without_location_tracker(operator: Any) -> None:
    """Let the actors of this operator not report their nodes, because all run on this one."""
    pool = operator._actor_pool
    start = with_globals(ray_private.start_actor, get_or_create_actor_location_tracker=NoLocationTracker)
    pool._create_actor_fn = MethodType(start, operator)
    refresh = with_globals(ray_private.refresh_actor_state, get_actor_locations=lambda _: {})
    pool.refresh_actor_state = MethodType(refresh, pool)


def _upstream(operator: Any) -> Iterator[Any]:
    yield operator
    for before in operator.input_dependencies:
        yield from _upstream(before)
