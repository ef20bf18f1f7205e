"""The Ray cluster this instance works on."""

from __future__ import annotations

import logging
import os

import ray

from stream_infer.errors import ConfigError


def connect(root: str) -> tuple[int, int]:
    """Join the cluster of ``RAY_ADDRESS``, or start a local one; returns its CPUs and GPUs. For the main thread only.

    A local Ray ends when the thread that started it does. ``address="local"`` is said aloud: without it Ray joins
    whatever cluster left its address in the temp folder.

    Args:
        root: folder whose modules the workers can import.

    Raises:
        ConfigError: no cluster answers there, or it refuses.
    """
    if not ray.is_initialized():
        cluster = os.environ.get("RAY_ADDRESS")
        path = {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
        if cluster is None:
            # inherited by every process: with a runtime environment the workers that Ray starts ahead were of no use
            os.environ.update(path)
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        try:
            ray.init(
                address=cluster or "local",
                include_dashboard=False,
                logging_level=logging.WARNING,
                log_to_driver=False,
                runtime_env={"env_vars": path} if cluster else None,
            )
        except (ConnectionError, ray.exceptions.AuthenticationError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"RAY_ADDRESS: the cluster at {cluster} cannot be joined ({reason}); start it, or unset RAY_ADDRESS"
            ) from None
    resources = ray.cluster_resources()
    return int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
