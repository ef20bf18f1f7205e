"""From what the pipeline, its ledger and its metrics say to one `snapshot.Snapshot`. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stream_infer import config
from stream_infer.ops.watch import formatting
from stream_infer.ops.watch import snapshot as shown
from stream_infer.ops.watch.samples import Window
from stream_infer.telemetry import labels
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metric_spec import Metric

_LIMITED = 0.5  # a stage this busy is called the bottleneck
_NEVER: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Stored:
    """What the ledger said last.

    Attributes:
        status: `ledger.Ledger.status`.
        trouble: why this is not of now.
    """

    status: Mapping[str, Any] = field(default_factory=dict)
    splits: Sequence[Mapping[str, Any]] = ()
    rejects: Sequence[Mapping[str, Any]] = ()
    trouble: str | None = None


def assemble(
    settings: config.PipelineSettings,
    live: Mapping[str, Any],
    stored: Stored,
    window: Window | None,
    history: Sequence[float],
    at: float,
) -> shown.Snapshot:
    """The snapshot, without the doctor's findings.

    Args:
        live: `Pipeline.live`; its ``state`` is ``not running`` where only the ledger is read.
        window: None where no metrics are to be had.
        at: seconds since the epoch.
    """
    stages = _stages(live, window)
    sources = [_source(item, live, stored, window, at) for item in settings.sources]
    busy = any(source.lag or source.in_flight for source in sources)
    return shown.Snapshot(
        pipeline=settings.name,
        at=at,
        **_told(live),
        started_at=(window and window.now(m.START_TIME_SECONDS)) or None,
        version=_label(window, m.BUILD_INFO, 0),
        model=_model(window),
        sink=formatting.place(settings.sink.place),
        **{name: stored.status[name] for name in ("epoch", "owner", "acquired_at") if name in stored.status},
        ledger_trouble=stored.trouble,
        fused=_fused(live),
        bottleneck=_bottleneck(stages, _fused(live)) if busy else None,
        in_flight_limit=settings.limits.in_flight,
        freshness=max((source.lag_seconds or 0.0 for source in sources), default=0.0),
        eta_seconds=_eta(sources),
        records=_records(sources, window),
        recent=_recent(window, history),
        stages=stages,
        sources=sources,
        gpus=_gpus(window),
        splits=[shown_split(item) for item in stored.splits],
        rejects=[shown.Reject(**item) for item in stored.rejects],
    )


def _told(live: Mapping[str, Any]) -> dict[str, Any]:
    """What the instance says of itself, as it is."""
    stalled = sorted(live.get("stalled") or ())
    trouble = live.get("trouble")
    return {
        "state": live["state"],
        "ready": live["ready"],
        "since": live.get("since"),
        "execution": live.get("execution"),
        "trouble": None if trouble in stalled else trouble,  # told by its stage
        "stalled": stalled,
        "circuit_breaker": bool(live.get("circuit_breaker")),
        **{name: live.get(name, 0) for name in ("waiting_splits", "in_flight_splits", "in_flight_bytes")},
    }


def _source(
    settings: config.SourceSettings, live: Mapping[str, Any], stored: Stored, window: Window | None, at: float
) -> shown.Source:
    name = settings.name
    known = stored.status.get("sources", _NEVER).get(name, _NEVER)
    running = live.get("sources", _NEVER).get(name, _NEVER)
    record_metrics: dict[str, Any] = {}
    if window is not None:
        oldest = window.now(m.OLDEST_UNCOMMITTED_TIMESTAMP_SECONDS, source=name)
        record_metrics = {
            "lag_seconds": max(0.0, at - oldest) if oldest else 0.0,
            "waiting_bytes": int(window.now(m.WAITING_BYTES, source=name)),
            "waiting_objects": int(window.now(m.WAITING_OBJECTS, source=name)),
            "records_per_second": window.rate(m.RECORDS_COMMITTED, source=name),
            "eta_seconds": _finite(window.now(m.DRAIN_ETA_SECONDS, source=name)),
        }
    waiting = running.get("lag", 0) or known.get("in_flight", 0)
    if waiting and not record_metrics.get("eta_seconds"):
        record_metrics["eta_seconds"] = None
    return shown.Source(
        name=name,
        kind=settings.kind,
        place=place_of(settings),
        **{key: known[key] for key in ("rows", "rejected", "lost", "in_flight", "last_commit") if key in known},
        **{key: running[key] for key in ("lag", "unsettled", "trouble", "failure") if key in running},
        **record_metrics,
    )


def place_of(settings: config.SourceSettings) -> str:
    """Where a source reads, without credentials."""
    return settings.place if settings.folder is None else formatting.place(settings.folder)


def _stages(live: Mapping[str, Any], window: Window | None) -> list[shown.Stage]:
    pools = live.get("pools") or ()
    fused = _fused(live)
    shares = _shares(window, fused) if window else {}
    found = []
    for pool in pools:
        for name in pool["stages"]:
            waits = [why.partition(": ")[2] for why in live.get("stalled") or () if why.startswith(f"{name}: ")]
            record_metrics: dict[str, Any] = {}
            if window is not None:
                record_metrics["actors"] = int(window.now(m.ACTORS, stage=name))
                record_metrics["split_seconds"] = window.mean(m.SPLIT_SECONDS, stage=name)
                record_metrics |= shares.get(name, {}) | _failures(window, name)
            found.append(
                shown.Stage(
                    name=name,
                    max_actors=pool["max_actors"],
                    waits=len(waits),
                    waits_for=waits[0] if waits else None,
                    **record_metrics,
                )
            )
    return found


def _failures(window: Window, stage: str) -> dict[str, Any]:
    """Tries of the last minute that failed for something outside. One that succeeds is told with its split."""
    failures = window.grown_by(m.DEPENDENCY_ERRORS, stage=stage)
    failed = sum(failures.values())
    if not failed:
        return {}
    tries = failed + window.grown(m.SPLIT_SECONDS, "_count", stage=stage)
    most = max(failures, key=lambda labels: failures[labels])
    return {"failed": int(failed), "failed_share": failed / tries, "failed_for": most[1]}


def _shares(window: Window, fused: bool) -> dict[str, dict[str, float]]:
    """Shares of actor time by stage. The steps of one pool share its time, so there they are shares of the pool's."""
    kinds = {
        "busy": m.STAGE_BUSY_SECONDS,
        "backpressured": m.STAGE_BACKPRESSURED_SECONDS,
        "idle": m.STAGE_IDLE_SECONDS,
    }
    times = {
        stage: {kind: window.grown(metric, stage=stage) for kind, metric in kinds.items()} for stage in labels.STAGES
    }
    pool = {kind: sum(time[kind] for time in times.values()) for kind in kinds}
    found = {}
    for stage, time in times.items():
        total = sum(pool.values()) if fused else sum(time.values())
        if total > 0:
            found[stage] = {kind: seconds / total for kind, seconds in time.items()}
            if fused:  # none of the three is idle or held back by itself
                found[stage] |= {kind: pool[kind] / total for kind in ("backpressured", "idle")}
    return found


def _bottleneck(stages: Sequence[shown.Stage], fused: bool) -> str | None:
    waiting = [stage for stage in stages if stage.waits]
    if waiting:
        return waiting[0].name
    busiest = max(stages, key=lambda stage: stage.busy or 0.0, default=None)
    if busiest is None:
        return None
    load = sum(stage.busy or 0.0 for stage in stages) if fused else busiest.busy or 0.0
    return busiest.name if load >= _LIMITED else None


def _fused(live: Mapping[str, Any]) -> bool:
    return len(live.get("pools") or ()) == 1


def _eta(sources: Sequence[shown.Source]) -> float | None:
    waiting = [source.eta_seconds for source in sources if source.lag or source.in_flight]
    known = [eta for eta in waiting if eta is not None]
    return max(known, default=0.0) if len(known) == len(waiting) else None


def _records(sources: Sequence[shown.Source], window: Window | None) -> shown.Records:
    sums = {
        "committed": sum(source.rows for source in sources),
        "rejected": sum(source.rejected for source in sources),
        "lost": sum(source.lost for source in sources),
        "in_flight": sum(source.in_flight for source in sources),
    }
    unaccounted = int(window.now(m.RECORDS_UNACCOUNTED)) if window else 0
    return shown.Records(planned=sum(sums.values()), unaccounted=unaccounted, **sums)


def _recent(window: Window | None, history: Sequence[float]) -> shown.Recent:
    if window is None:
        return shown.Recent()
    kinds = [
        shown.RejectKind(source=source, stage=stage, error_type=error, records=int(number))
        for (source, stage, error), number in window.grown_by(m.RECORDS_REJECTED).items()
        if number
    ]
    return shown.Recent(
        seconds=window.seconds,
        records_per_second=window.rate(m.RECORDS_COMMITTED),
        bytes_per_second=window.rate(m.READ_BYTES),
        committed=int(window.grown(m.RECORDS_COMMITTED)),
        rejected=sum(kind.records for kind in kinds),
        lost=int(window.grown(m.RECORDS_LOST)),
        retries=int(window.grown(m.SPLIT_RETRIES)),
        commits=int(window.grown(m.LEDGER_COMMIT_SECONDS, "_count")),
        commit_seconds=window.mean(m.LEDGER_COMMIT_SECONDS),
        end_to_end_seconds=window.mean(m.END_TO_END_SECONDS),
        dependency_errors=int(window.grown(m.DEPENDENCY_ERRORS)),
        rejects=sorted(kinds, key=lambda kind: -kind.records),
        deaths=[
            shown.DeathKind(stage=stage, cause=cause, workers=int(number))
            for (stage, cause), number in window.grown_by(m.WORKER_DEATHS).items()
            if number
        ],
        history=list(history),
    )


def _gpus(window: Window | None) -> list[shown.Gpu]:
    if window is None:
        return []
    return [
        shown.Gpu(
            name=name,
            utilization=value,
            memory_used=int(window.now(m.GPU_MEMORY_USED_BYTES, gpu=name)),
            memory_total=int(window.now(m.GPU_MEMORY_TOTAL_BYTES, gpu=name)),
        )
        for (name,), value in sorted(window.newest.of(m.GPU_UTILIZATION_RATIO).items())
    ]


def shown_split(item: Mapping[str, Any]) -> shown.Split:
    """One row of `ledger.Ledger.recent`."""
    names = shown.Split.model_fields.keys() - {"what"}
    # the first try is counted durably only when there is a second
    attempts = {"attempts": max(item["attempts"], int(item["committed_at"] is not None))}
    return shown.Split(what=what(item["bounds"]), **{name: item[name] for name in names} | attempts)


def what(bounds: Mapping[str, Any]) -> str:
    """What a split reads, in words: ``tickets/0 1,000 … 1,999``, ``a.txt and 31 more``."""
    if "objects" in bounds:
        objects = bounds["objects"]
        first = str(objects[0]["key"]) if objects else "no object"
        rows = bounds.get("rows")
        if rows:
            return f"{first} rows {rows[0]:,} … {rows[1] - 1:,}"
        return first if len(objects) < 2 else f"{first} and {len(objects) - 1} more"
    if {"position_key", "start", "stop"} <= bounds.keys():
        return f"{bounds['position_key']} {bounds['start']:,} … {bounds['stop'] - 1:,}"
    return formatting.clipped(str(dict(bounds)), 80)


def _model(window: Window | None) -> str:
    name, digest = _label(window, m.MODEL_INFO, 0), _label(window, m.MODEL_INFO, 1)
    return f"{name}@{digest[:12]}" if digest else name


def _label(window: Window | None, info: Metric, place: int) -> str:
    found = window.newest.of(info) if window else {}
    return next((values[place] for values in found if len(values) > place), "")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
