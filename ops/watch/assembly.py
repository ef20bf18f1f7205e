"""Assembly of one `snapshot.Snapshot` from the pipeline's live state, its ledger and its metrics. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stream_infer import config
from stream_infer.bounds import in_words, parse
from stream_infer.ops.watch import formatting
from stream_infer.ops.watch.recent import gpus_of, recent_of
from stream_infer.ops.watch.samples import Window
from stream_infer.ops.watch.snapshot import Records, Reject, Snapshot, Source, Split
from stream_infer.ops.watch.stages import bottleneck_of, is_fused, stages_of
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metric_spec import Metric

_EMPTY: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Stored:
    """The last answer of the ledger.

    Attributes:
        status: `ledger.Ledger.status`.
        trouble: why this answer is an old one; None where it is not.
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
) -> Snapshot:
    """Assemble the snapshot, without the doctor's findings.

    Args:
        live: `Pipeline.live`; its ``state`` is ``not running`` where only the ledger is read.
        window: None where there are no metrics.
        at: seconds since the epoch.
    """
    stages = stages_of(live, window)
    sources = [_source(item, live, stored, window, at) for item in settings.sources]
    busy = any(source.lag or source.in_flight for source in sources)
    return Snapshot(
        pipeline=settings.name,
        at=at,
        **_live_fields(live),
        started_at=(window and window.now(m.START_TIME_SECONDS)) or None,
        version=_label(window, m.BUILD_INFO, 0),
        model=_model(window),
        sink=formatting.without_credentials(settings.sink.location),
        **{name: stored.status[name] for name in ("epoch", "owner", "acquired_at") if name in stored.status},
        ledger_trouble=stored.trouble,
        fused=is_fused(live),
        bottleneck=bottleneck_of(stages, is_fused(live)) if busy else None,
        in_flight_limit=settings.limits.in_flight,
        freshness=max((source.lag_seconds or 0.0 for source in sources), default=0.0),
        eta_seconds=_eta(sources),
        records=_records(sources, window),
        recent=recent_of(window, history),
        stages=stages,
        sources=sources,
        gpus=gpus_of(window),
        splits=[shown_split(item) for item in stored.splits],
        rejects=[Reject(**item) for item in stored.rejects],
    )


def _live_fields(live: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that the live state gives as they are."""
    stalled = sorted(live.get("stalled") or ())
    trouble = live.get("trouble")
    return {
        "state": live["state"],
        "ready": live["ready"],
        "since": live.get("since"),
        "execution": live.get("execution"),
        "trouble": None if trouble in stalled else trouble,  # its stage shows it
        "stalled": stalled,
        "circuit_breaker": bool(live.get("circuit_breaker")),
        **{name: live.get(name, 0) for name in ("waiting_splits", "in_flight_splits", "in_flight_bytes")},
    }


def _source(
    settings: config.SourceSettings, live: Mapping[str, Any], stored: Stored, window: Window | None, at: float
) -> Source:
    name = settings.name
    counts = stored.status.get("sources", _EMPTY).get(name, _EMPTY)
    running = live.get("sources", _EMPTY).get(name, _EMPTY)
    measured: dict[str, Any] = {}
    if window is not None:
        oldest = window.now(m.OLDEST_UNCOMMITTED_TIMESTAMP_SECONDS, source=name)
        measured = {
            "lag_seconds": max(0.0, at - oldest) if oldest else 0.0,
            "waiting_bytes": int(window.now(m.WAITING_BYTES, source=name)),
            "waiting_objects": int(window.now(m.WAITING_OBJECTS, source=name)),
            "records_per_second": window.rate(m.RECORDS_COMMITTED, source=name),
            "eta_seconds": _finite(window.now(m.DRAIN_ETA_SECONDS, source=name)),
        }
    waiting = running.get("lag", 0) or counts.get("in_flight", 0)
    if waiting and not measured.get("eta_seconds"):
        measured["eta_seconds"] = None
    return Source(
        name=name,
        kind=settings.kind,
        location=location_of(settings),
        **{key: counts[key] for key in ("rows", "rejected", "lost", "in_flight", "last_commit") if key in counts},
        **{key: running[key] for key in ("lag", "unsettled", "trouble", "failure") if key in running},
        **measured,
    )


def location_of(settings: config.SourceSettings) -> str:
    """Where a source reads, without credentials."""
    return settings.location if settings.folder is None else formatting.without_credentials(settings.folder)


def _eta(sources: Sequence[Source]) -> float | None:
    """Seconds until nothing waits; None where a source with work makes no progress."""
    waiting = [source.eta_seconds for source in sources if source.lag or source.in_flight]
    estimates = [eta for eta in waiting if eta is not None]
    return max(estimates, default=0.0) if len(estimates) == len(waiting) else None


def _records(sources: Sequence[Source], window: Window | None) -> Records:
    sums = {
        "committed": sum(source.rows for source in sources),
        "rejected": sum(source.rejected for source in sources),
        "lost": sum(source.lost for source in sources),
        "in_flight": sum(source.in_flight for source in sources),
    }
    unaccounted = int(window.now(m.RECORDS_UNACCOUNTED)) if window else 0
    return Records(planned=sum(sums.values()), unaccounted=unaccounted, **sums)


def shown_split(item: Mapping[str, Any]) -> Split:
    """The snapshot's form of one row of `ledger.Ledger.recent`."""
    names = Split.model_fields.keys() - {"what"}
    # the ledger counts the first attempt only when a second one starts
    attempts = {"attempts": max(item["attempts"], int(item["committed_at"] is not None))}
    return Split(what=in_words(parse(item["bounds"])), **{name: item[name] for name in names} | attempts)


def _model(window: Window | None) -> str:
    name, digest = _label(window, m.MODEL_INFO, 0), _label(window, m.MODEL_INFO, 1)
    return f"{name}@{digest[:12]}" if digest else name


def _label(window: Window | None, info: Metric, index: int) -> str:
    """A label value of an info metric, empty where it has no sample yet."""
    samples = window.newest.of(info) if window else {}
    return next((values[index] for values in samples if len(values) > index), "")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
