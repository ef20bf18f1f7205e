"""The trace of a settled split, made from its trail."""

from __future__ import annotations

from collections.abc import Mapping

from stream_infer.bounds import LogRange, parse
from stream_infer.splits import Receipt, Split
from stream_infer.tasks import Outcome, Poisoned
from stream_infer.telemetry.tracing import Period, SplitTrace


def trace_of(
    outcome: Outcome, attributes: Mapping[str, str | int], commit: Period, receipt: Receipt | None = None
) -> SplitTrace:
    """The trace of a split that was settled in the period ``commit``: committed, bisected or rejected.

    ``plan`` lasts from the planning of the split until the execution took it, ``queue`` from then to the first read.
    """
    split, trail = outcome.task.split, outcome.task.trail
    reject = outcome.reject if isinstance(outcome, Poisoned) else None
    stages = dict(trail.timestamps)
    sent, _ = stages.pop("sent", (split.planned_at, split.planned_at))
    periods: dict[str, Period] = {"plan": (split.planned_at or sent, sent)}
    if "read" in stages:
        read = stages.pop("read")
        periods |= {"queue": (sent, read[0]), "read": stages.pop("fetch", read)}
    periods |= {**stages, "commit": commit}
    return SplitTrace(
        split=split,
        periods=periods,
        receipt=receipt,
        attributes=attributes,
        origins=trail.origins,
        more_origins=trail.more_origins,
        error=None if reject is None else f"{reject.error} in {reject.stage}: {reject.reason}",
        retried=split.attempt > 1 or trail.deaths > 0 or trail.retries > 0,
    )


def attributes_of(split: Split, source: Mapping[str, str | int]) -> Mapping[str, str | int]:
    """The input of a split as attributes of OpenTelemetry's semantic conventions.

    Args:
        source: attributes of all splits of the source (`contracts.SourceStatus.attributes`).
    """
    bounds = parse(split.bounds)
    if not isinstance(bounds, LogRange):
        key = {"aws.s3.key": bounds.objects[0].key} if "aws.s3.bucket" in source else {}
        return {"stream_infer.objects": len(bounds.objects), **source, **key}
    system = bounds.log.partition("://")[0]
    topic, _, partition = bounds.position_key.rpartition("/")
    return {
        "messaging.system": system,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": topic.partition("@")[0],
        "messaging.destination.partition.id": partition,
        **source,
        f"messaging.{system}.offset": bounds.start,
        f"stream_infer.{system}.end_offset": bounds.stop,
    }
