"""A Ray that serves one instance on one machine: without the processes that only clusters and dashboards need.

A local Ray starts about ten Python processes before the first task, and most of a start is their imports: the
autoscaler's monitor and the dashboard's server, and for Ray Data actors that keep statistics for dashboards, the nodes of
actors, reservations of a cluster's tenants, and usage reports. On one machine with one execution none of them has anything
to say. With ``RAY_ADDRESS`` all of them stay as the cluster has them.

This and `unbounded` are the only modules that touch Ray Data's private parts, checked against the same version. Where
another version lacks a name, the process behind it starts as Ray has it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pkgutil import resolve_name
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import ray

log = logging.getLogger(__name__)
_NODE = "ray._private.node:Node"
_STATS = "ray.data._internal.stats:_StatsManager"
_OPERATOR = "ray.data._internal.execution.operators.actor_pool_map_operator"
_AUTOSCALER = "ray.data._internal.cluster_autoscaler.rate_based_cluster_autoscaler"


class Nobody:
    """Stands for the actor that is told on which node each actor is: all are on this one. Picklable."""

    @property
    def update_actor_location(self) -> SimpleNamespace:
        return SimpleNamespace(remote=_nothing)


class WholeMachine:
    """Stands for the actor that shares a cluster's resources among executions: this one has all there is."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self._all = {name: amount for name, amount in ray.cluster_resources().items() if ":" not in name}

    def request_resources(self, *_: Any, **__: Any) -> None:
        return

    def cancel_request(self) -> None:
        return

    def get_reserved_resources(self) -> Mapping[str, Mapping[str, float]]:
        """Amounts by resource, by node."""
        return {"here": self._all}


@contextmanager
def without_servers() -> Iterator[None]:
    """Meanwhile ``ray.init`` starts no monitor of an autoscaler or of logs, and no dashboard."""
    instead = {"start_monitor": _nothing, "start_log_monitor": _nothing, "start_api_server": _any_port}
    old = [_replace(_NODE, name, value) for name, value in instead.items()]
    try:
        yield
    finally:
        for name, value in filter(None, old):
            setattr(resolve_name(_NODE), name, value)


def without_helpers() -> None:
    """From now on executions of this process start no actors beside their stages."""
    os.environ.setdefault("RAY_DATA_USAGE_DISABLED", "1")
    for name in ("update_execution_metrics", "update_iteration_metrics", "register_dataset_to_stats_actor"):
        _replace(_STATS, name, staticmethod(_nothing))
    _replace(_STATS, "gen_dataset_id_from_stats_actor", staticmethod(lambda: uuid4().hex))
    _replace(_OPERATOR, "get_or_create_actor_location_tracker", Nobody)
    _replace(_OPERATOR, "get_actor_locations", lambda _: {})
    _replace(_AUTOSCALER, "DefaultAutoscalingCoordinator", WholeMachine)


def _replace(owner: str, name: str, value: Any) -> tuple[str, Any] | None:
    """Put the value in the place of what has that name; returns the name and what it was, None where nothing was."""
    try:
        place = resolve_name(owner)
        old = getattr(place, name)
    except (ImportError, AttributeError):
        log.warning("this Ray has no %s.%s; the start takes longer than it must", owner, name)
        return None
    setattr(place, name, value)
    return name, old


def _any_port(node: Any, **_: Any) -> None:
    """Called before the node's agent is started. Its port is fixed otherwise: a second Ray on a machine, and one that
    starts while the agent of a killed one still lives, would wait seconds for it."""
    node._ray_params.dashboard_agent_listen_port = 0


def _nothing(*_: Any, **__: Any) -> None:
    return
