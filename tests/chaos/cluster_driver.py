"""Runs a pipeline on a cluster of three nodes inside this process; SIGUSR1 ends one of the two that hold no driver."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from stream_infer.ops.service import serving
from stream_infer.pipeline import Pipeline

STARTS = 5  # Ray gives up on a node after 30 s, too soon for a machine under load


def main() -> None:
    cluster = patiently(lambda: Cluster(True, head_node_args={"num_cpus": 1, "include_dashboard": False}))
    ray.init(address=cluster.address, log_to_driver=False)  # while there is no other node to be connected to
    others = [patiently(lambda: cluster.add_node(num_cpus=1)) for _ in range(2)]
    pipeline = Pipeline.from_file(Path(sys.argv[1]))

    def end_one(*_: object) -> None:
        threading.Thread(target=lose, args=(others.pop(),)).start()

    def lose(victim: object) -> None:
        cluster.remove_node(victim, allow_graceful=False)
        print(f"a node was lost, {len(others)} others are left", flush=True)

    signal.signal(signal.SIGUSR1, end_one)
    signal.signal(signal.SIGTERM, lambda *_: pipeline.stop())
    with serving(pipeline):
        pipeline.run()
    pipeline.close()
    cluster.shutdown()


def patiently(start: Callable[[], Any]) -> Any:
    """What it starts, in one of several tries."""
    for left in reversed(range(STARTS)):
        try:
            return start()
        except Exception as error:
            if not left or "timed out during startup" not in str(error):
                raise
    raise AssertionError("unreachable")


if __name__ == "__main__":
    main()
