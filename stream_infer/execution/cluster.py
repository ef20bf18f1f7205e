"""The Ray cluster this instance works on."""

from __future__ import annotations

import contextlib
import logging
import os

import psutil
import ray
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available

from stream_infer.errors import ConfigError, Fatal
from stream_infer.execution.minimal_ray import without_helpers, without_servers
from stream_infer.search_path import search_path
from stream_infer.stages import Capacity

log = logging.getLogger(__name__)
_STARTS = 5
# Ray keeps a record of each of the last 100,000 calls for its state API, hundreds of megabytes, and a place for a million more
# in each process. The ledger and the traces tell what was done.
_LOCAL = {"_system_config": {"task_events_report_interval_ms": 0}}


def connect() -> Capacity:
    """Join the cluster of ``RAY_ADDRESS``, or start a local one; returns what it has. For the main thread only.

    A local Ray ends when the thread that started it does. ``address="local"`` is said aloud: without it Ray joins
    whatever cluster left its address in the temp folder.

    Raises:
        ConfigError: no cluster answers there, or it refuses.
        Fatal: the local one does not start.
    """
    if not ray.is_initialized():
        cluster = os.environ.get("RAY_ADDRESS")
        if cluster is None:  # inherited by every process
            os.environ["PYTHONPATH"] = os.pathsep.join(search_path())
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        try:
            if cluster:
                _join(cluster)
            else:
                with without_servers():
                    _start("local")
                without_helpers()
        except (ConnectionError, ray.exceptions.AuthenticationError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"RAY_ADDRESS: the cluster at {cluster} cannot be joined ({reason}); start it, or unset RAY_ADDRESS"
            ) from None
    resources = ray.cluster_resources()
    return Capacity(*(int(resources.get(name, least)) for name, least in (("CPU", 1), ("GPU", 0), ("memory", 0))))


def _join(address: str) -> None:
    """Ray shows its token to a cluster that it finds by itself, never to one that is named, though `ray start` asks for it.

    No runtime environment is asked for: with one, the workers that the cluster has at hand would be of no use. What the
    workers import of the user's they find by the folders that the steps bring.
    """
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    _start(address)


def _start(address: str) -> None:
    """``ray.init``, again where Ray's own processes took longer than Ray waits for them.

    That is fixed in Ray (15 s for the ports of an agent, 30 s for the node) and too short on a machine under load.
    """
    here = psutil.Process()
    for start in range(1, _STARTS + 1):
        before = set(here.children(recursive=True))
        try:
            ray.init(
                address=address,
                include_dashboard=False,
                logging_level=logging.WARNING,
                log_to_driver=False,
                **(_LOCAL if address == "local" else {}),
            )
        except Exception as error:
            if "timed out during startup" not in str(error):  # a bare Exception: its text is all there is
                raise
            ray.shutdown()
            for left in set(here.children(recursive=True)) - before:  # what did start of it takes the next one's time
                with contextlib.suppress(psutil.NoSuchProcess):
                    left.kill()
            if start == _STARTS:
                raise Fatal(
                    f"the local Ray did not start in {_STARTS} tries: the machine is too busy or too small; "
                    "see /tmp/ray/session_latest/logs"
                ) from None
            log.warning("the local Ray did not start in time; trying again")
        else:
            return
