"""The private parts of Ray that this product uses. No other file touches ``ray._private``, ``ray.core`` or
``ray.data._internal``.

Ray promises none of them. A move to another release of Ray begins here: change `CHECKED_VERSION`, run
``tests/execution``, and correct what its tests of this list report.

A name of the list is imported when it is first used, so that a process which needs one of them does not load Ray Data.
"""

from __future__ import annotations

from collections.abc import Callable
from pkgutil import resolve_name
from types import FunctionType
from typing import Any, Final, NamedTuple

CHECKED_VERSION: Final = "2.60.0"


class PrivateName(NamedTuple):
    """One object of Ray without a promise.

    Attributes:
        target: module and name in it.
        purpose: use that is made of it.
        members: its attributes that are read, replaced or overridden.
        variables: globals of a function that get other values in a copy of it (`with_globals`).
    """

    target: str
    purpose: str
    members: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()


_DATA: Final = "ray.data._internal"
_OPERATORS: Final = f"{_DATA}.execution.operators"
PRIVATE_NAMES: Final[dict[str, PrivateName]] = {
    # the endless source
    "LogicalOperator": PrivateName(f"{_DATA}.logical.interfaces:LogicalOperator", "base class of the endless source"),
    "SourceOperator": PrivateName(f"{_DATA}.logical.interfaces:SourceOperator", "base class of the endless source"),
    "LogicalPlan": PrivateName(f"{_DATA}.logical.interfaces:LogicalPlan", "argument of the dataset's constructor"),
    "DatasetStats": PrivateName(f"{_DATA}.stats:DatasetStats", "argument of the dataset's constructor"),
    "Planner": PrivateName(
        f"{_DATA}.planner.planner:Planner", "table of planners by logical operator", ("_DEFAULT_PLAN_FNS",)
    ),
    "InputDataBuffer": PrivateName(
        f"{_OPERATORS}.input_data_buffer:InputDataBuffer",
        "base class of the physical source; an operator that has not completed keeps the execution alive, and the "
        "scheduling loop calls `refresh_state` of each once a step",
        (
            "has_next",
            "_get_next_inner",
            "has_execution_finished",
            "has_completed",
            "refresh_state",
            "output_dependencies",
            "num_active_tasks",
            "_metrics",
            "_estimated_num_output_bundles",
        ),
    ),
    "BlockEntry": PrivateName(f"{_DATA}.execution.interfaces:BlockEntry", "a split on its way into the execution"),
    "RefBundle": PrivateName(f"{_DATA}.execution.interfaces:RefBundle", "a split on its way into the execution"),
    "MapOperator": PrivateName(
        f"{_OPERATORS}.map_operator:MapOperator",
        "statistics of each output block, which would grow for ever",
        ("_output_blocks_stats",),
    ),
    # the scheduling loop
    "Dataset": PrivateName(
        "ray.data:Dataset", "constructor, whole blocks with GPUs, executor of one dataset", ("_create_executor",)
    ),
    "StreamingExecutor": PrivateName(
        f"{_DATA}.execution.streaming_executor:StreamingExecutor",
        "base class of the executor",
        ("_metadata_fetcher", "_scheduling_loop_step", "_update_stats_metrics", "execute"),
    ),
    "execute": PrivateName(
        f"{_DATA}.execution.streaming_executor:StreamingExecutor.execute",
        "start without helper actors",
        variables=("_StatsManager", "create_cluster_autoscaler"),
    ),
    "scheduling_loop_step": PrivateName(
        f"{_DATA}.execution.streaming_executor:StreamingExecutor._scheduling_loop_step",
        "step of the loop that does not wait for ALL running tasks",
        variables=("process_completed_tasks",),
    ),
    "process_completed_tasks": PrivateName(
        f"{_DATA}.execution.streaming_executor_state:process_completed_tasks",
        "wait for running tasks; of the module `ray` it uses `wait` alone",
        variables=("ray",),
    ),
    "InlineMetadataFetcher": PrivateName(
        f"{_DATA}.execution.metadata_fetcher:InlineMetadataFetcher",
        "metadata of blocks without a thread, for which the loop would not wait",
    ),
    # actor pools
    "ActorPoolMapOperator": PrivateName(
        f"{_OPERATORS}.actor_pool_map_operator:ActorPoolMapOperator", "operator of an actor pool", ("_actor_pool",)
    ),
    "ActorPool": PrivateName(
        f"{_OPERATORS}.actor_pool_map_operator:_NodeAwareActorPool",
        "size of an actor pool",
        ("num_running_actors", "_create_actor_fn", "refresh_actor_state"),
    ),
    "start_actor": PrivateName(
        f"{_OPERATORS}.actor_pool_map_operator:ActorPoolMapOperator._start_actor",
        "start of an actor without the actor that tracks locations",
        variables=("get_or_create_actor_location_tracker",),
    ),
    "refresh_actor_state": PrivateName(
        f"{_OPERATORS}.actor_pool_map_operator:_NodeAwareActorPool.refresh_actor_state",
        "state of the actors without the actor that tracks locations",
        variables=("get_actor_locations",),
    ),
    "UsageCallback": PrivateName(f"{_DATA}.usage:UsageCallback", "usage report, which starts an actor"),
    # Ray itself
    "Node": PrivateName(
        "ray._private.node:Node",
        "start of a local Ray without servers",
        ("start_monitor", "start_log_monitor", "start_api_server", "_ray_params"),
    ),
    "global_worker": PrivateName(
        "ray._private.worker:global_worker", "whether this process started the Ray that it uses", ("node",)
    ),
    "state": PrivateName("ray._private.state:state", "causes of workers' deaths", ("_connect_and_get_accessor",)),
    "WorkerTableData": PrivateName(
        "ray.core.generated.gcs_pb2:WorkerTableData", "message that describes a dead worker", ("FromString",)
    ),
    "WorkerExitType": PrivateName(
        "ray.core.generated.common_pb2:WorkerExitType", "cause of a worker's death", ("NODE_OUT_OF_MEMORY",)
    ),
    "enable_token_auth": PrivateName(
        "ray._private.authentication.authentication_token_setup:maybe_enable_token_auth_if_token_available",
        "token for a cluster that is joined by its address",
    ),
}


def __getattr__(name: str) -> Any:
    """The object of the list with this name."""
    if name not in PRIVATE_NAMES:
        raise AttributeError(name)
    return resolve_name(PRIVATE_NAMES[name].target)


def with_globals(function: Any, **values: Any) -> Callable[..., Any]:
    """A copy of the function that sees other values of some globals. The function and its module stay as they are.

    So one execution behaves differently from all others in the process.
    """
    copy = FunctionType(
        function.__code__,
        {**function.__globals__, **values},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def started_here() -> bool:
    """Whether this process started the Ray that it uses: one machine, and no cluster of others."""
    node = resolve_name(PRIVATE_NAMES["global_worker"].target).node
    return node is not None and bool(node.head)
