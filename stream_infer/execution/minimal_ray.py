"""A local Ray for one instance, without the processes that only clusters and dashboards need.

A local Ray starts about ten Python processes before the first task, and their imports take most of the time of a start. These
are the autoscaler's monitor and the dashboard's server, and for each execution of Ray Data the actors for statistics, for the
nodes of actors, for reservations of resources and for usage reports. On one machine they have no purpose. A cluster of
``RAY_ADDRESS`` keeps all of them, and so does every other dataset of the process.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import ray

from stream_infer.execution import ray_private

log = logging.getLogger(__name__)


class NoLocationTracker:
    """Replacement of the actor to which each actor reports its node. Picklable."""

    @property
    def update_actor_location(self) -> SimpleNamespace:
        return SimpleNamespace(remote=_do_nothing)


class NoStatsManager:
    """Replacement of the client of the actor for the dashboard's statistics."""

    @staticmethod
    def register_dataset_to_stats_actor(*_: Any, **__: Any) -> None:
        return


class WholeMachine:
    """Replacement of the cluster autoscaler: the execution may use the whole machine."""

    def __init__(self) -> None:
        self._resources = ray.data.ExecutionResources.from_resource_dict(ray.cluster_resources())

    def try_trigger_scaling(self) -> None:
        return

    def on_executor_shutdown(self) -> None:
        return

    def get_total_resources(self) -> ray.data.ExecutionResources:
        """All resources of the machine."""
        return self._resources


@contextmanager
def without_servers() -> Iterator[None]:
    """Keep ``ray.init`` meanwhile from starting a dashboard, an autoscaler's monitor and a monitor of logs."""
    replacements = {"start_monitor": _do_nothing, "start_log_monitor": _do_nothing, "start_api_server": _any_port}
    node = ray_private.Node
    originals = {name: original for name in replacements if (original := _replace(node, name, replacements[name]))}
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(node, name, original)


def _replace(owner: Any, name: str, value: Any) -> Any:
    """Monkeypatch ``owner.name``; returns the original, or None if this version of Ray lacks it."""
    original = getattr(owner, name, None)
    if original is None:
        log.warning("this Ray has no %s.%s; its start takes longer than needed", owner.__name__, name)
        return None
    setattr(owner, name, value)
    return original


def _any_port(node: Any, **_: Any) -> None:
    """Let the node's agent choose its port. Ray calls this before it starts the agent.

    Otherwise the port is fixed. A second Ray on the machine would wait seconds for it, and so would a Ray that starts while the
    agent of a killed Ray still runs.
    """
    node._ray_params.dashboard_agent_listen_port = 0


def _do_nothing(*_: Any, **__: Any) -> None:
    return
