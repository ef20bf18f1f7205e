"""The operator of one actor pool in a dataset."""

from __future__ import annotations

from typing import Any

import ray
from ray.data import ActorPoolStrategy, Dataset

from stream_infer.execution.unbounded import mapped
from stream_infer.stages import PoolSpec
from stream_infer.worker.actor import StageActor


def with_pool(dataset: Dataset, pool: PoolSpec, tracker: ray.actor.ActorHandle, attempts: int) -> Dataset:
    """The dataset with one more actor pool behind it."""
    options: dict[str, Any] = {"num_gpus": pool.gpus} if pool.gpus else {}
    arguments: dict[str, Any] = {"stages": pool.stages, "first_stage": pool.first_stage}
    arguments |= {"tracker": tracker, "attempts": attempts}
    arguments |= {"threads": pool.threads, "niceness": pool.niceness, "owns_process": True}
    strategy = ActorPoolStrategy(min_size=pool.min_actors, max_size=pool.max_actors)
    return mapped(dataset, StageActor, arguments, compute=strategy, num_cpus=pool.cpus, **options)
