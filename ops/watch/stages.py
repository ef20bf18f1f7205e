"""The stages of a snapshot: shares of actor time, stalls, failed tries, and which stage is the bottleneck. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stream_infer.ops.watch.samples import Window
from stream_infer.ops.watch.snapshot import Stage
from stream_infer.telemetry import metrics as m

_BUSY_ENOUGH = 0.5  # share of its time at work from which a stage counts as the bottleneck


def stages_of(live: Mapping[str, Any], window: Window | None) -> list[Stage]:
    """The stages that run, in the order of the data, with their last minute.

    Args:
        live: `Pipeline.live`.
    """
    pools = live.get("pools") or ()
    names = [name for pool in pools for name in pool["stages"]]
    shares = _shares(window, names, is_fused(live)) if window else {}
    stages = []
    for pool in pools:
        for name in pool["stages"]:
            reasons = [stall.partition(": ")[2] for stall in live.get("stalled") or () if stall.startswith(f"{name}: ")]
            values: dict[str, Any] = {"stalled": len(reasons), "stall_reason": reasons[0] if reasons else None}
            if window is not None:
                values["actors"] = int(window.now(m.ACTORS, stage=name))
                values["split_seconds"] = window.mean(m.SPLIT_SECONDS, stage=name)
                values |= shares.get(name, {}) | _failures(window, name)
            stages.append(Stage(name=name, max_actors=pool["max_actors"], **values))
    return stages


def _failures(window: Window, stage: str) -> dict[str, Any]:
    """Tries of the last minute that a dependency made fail. A try that succeeded is counted by its split."""
    failures = window.grown_by(m.DEPENDENCY_ERRORS, stage=stage)
    failed = sum(failures.values())
    if not failed:
        return {}
    tries = failed + window.grown(m.SPLIT_SECONDS, "_count", stage=stage)
    most = max(failures, key=lambda labels: failures[labels])
    return {"failed": int(failed), "failed_share": failed / tries, "failed_dependency": most[1]}


def _shares(window: Window, names: Sequence[str], fused: bool) -> dict[str, dict[str, float]]:
    """Shares of actor time by stage; stages that share one pool get shares of the pool's time."""
    kinds = {
        "busy": m.STAGE_BUSY_SECONDS,
        "backpressured": m.STAGE_BACKPRESSURED_SECONDS,
        "idle": m.STAGE_IDLE_SECONDS,
    }
    times = {stage: {kind: window.grown(metric, stage=stage) for kind, metric in kinds.items()} for stage in names}
    pool = {kind: sum(time[kind] for time in times.values()) for kind in kinds}
    shares = {}
    for stage, time in times.items():
        total = sum(pool.values()) if fused else sum(time.values())
        if total > 0:
            shares[stage] = {kind: seconds / total for kind, seconds in time.items()}
            if fused:  # only the pool as a whole is idle or blocked
                shares[stage] |= {kind: pool[kind] / total for kind in ("backpressured", "idle")}
    return shares


def bottleneck_of(stages: Sequence[Stage], fused: bool) -> str | None:
    """The stage that the others wait for: the first that is stalled, else the busiest if it is busy enough."""
    stalled = [stage for stage in stages if stage.stalled]
    if stalled:
        return stalled[0].name
    busiest = max(stages, key=lambda stage: stage.busy or 0.0, default=None)
    if busiest is None:
        return None
    load = sum(stage.busy or 0.0 for stage in stages) if fused else busiest.busy or 0.0
    return busiest.name if load >= _BUSY_ENOUGH else None


def is_fused(live: Mapping[str, Any]) -> bool:
    return len(live.get("pools") or ()) == 1
