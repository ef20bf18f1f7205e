"""The connection to the Ray cluster of this instance."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Final

import psutil
import ray

from stream_infer.errors import ConfigError, Fatal
from stream_infer.execution import ray_private
from stream_infer.execution.minimal_ray import without_servers
from stream_infer.search_path import search_path
from stream_infer.stages import Capacity

log = logging.getLogger(__name__)
_STARTS = 5
# For its state API Ray keeps a record of each of the last 100,000 calls, hundreds of megabytes, and memory for a million more in
# each process. The ledger and the traces have this information already.
_SYSTEM_CONFIG: Final = {"task_events_report_interval_ms": 0}


def connect() -> Capacity:
    """Join the cluster of ``RAY_ADDRESS``, or start a local one; returns its capacity. For the main thread only.

    A local Ray ends with the thread that started it. Without ``address="local"`` Ray would join any cluster whose address is
    in the temp folder.

    Raises:
        ConfigError: the cluster does not answer, or refuses the connection.
        Fatal: the local Ray does not start.
    """
    if not ray.is_initialized():
        cluster = os.environ.get("RAY_ADDRESS")
        try:
            if cluster:
                _join(cluster)
            else:
                with without_servers(), _search_path_for_workers():
                    _start("local")
        except (ConnectionError, ray.exceptions.AuthenticationError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"RAY_ADDRESS: the cluster at {cluster} cannot be joined ({reason}); start it, or unset RAY_ADDRESS"
            ) from None
    resources = ray.cluster_resources()
    return Capacity(*(int(resources.get(name, least)) for name, least in (("CPU", 1), ("GPU", 0), ("memory", 0))))


def _join(address: str) -> None:
    """Join the cluster at this address, with the token.

    Ray itself sends its token only to a cluster that it finds without an address. There is no runtime environment, because
    then the idle workers of the cluster could not be used. The stages carry the folders of the user's modules to the workers.
    """
    ray_private.enable_token_auth(warn_if_disabled=False)
    _start(address)


@contextlib.contextmanager
def _search_path_for_workers() -> Iterator[None]:
    """Give this process's search path to the processes that start meanwhile: those of Ray, and through them its workers."""
    original = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(search_path())
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        if original is not None:
            os.environ["PYTHONPATH"] = original


def _start(address: str) -> None:
    """Call ``ray.init``, and repeat it if Ray's own processes started too slowly.

    Ray's time limits are fixed (15 s for the ports of an agent, 30 s for the node) and too short on a machine under load.
    """
    driver = psutil.Process()
    for start in range(1, _STARTS + 1):
        processes_before = set(driver.children(recursive=True))
        try:
            ray.init(
                address=address,
                include_dashboard=False,
                logging_level=logging.WARNING,
                log_to_driver=False,
                # a copy, because Ray adds the folder of this start to it
                **({"_system_config": dict(_SYSTEM_CONFIG)} if address == "local" else {}),
            )
        except Exception as error:
            if "timed out during startup" not in str(
                error
            ):  # Ray raises a bare Exception, so only the text identifies it
                raise
            ray.shutdown()
            for process in (
                set(driver.children(recursive=True)) - processes_before
            ):  # these would slow down the next start
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            if start == _STARTS:
                raise Fatal(
                    f"the local Ray did not start in {_STARTS} tries: the machine is too busy or too small; "
                    "see /tmp/ray/session_latest/logs"
                ) from None
            log.warning("the local Ray did not start in time; trying again")
        else:
            return
