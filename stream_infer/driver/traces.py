"""From what a split brought along to what its trace is made of."""

from __future__ import annotations

from collections.abc import Mapping

from stream_infer.splits import Receipt
from stream_infer.telemetry.tracing import Period, SplitTrace
from stream_infer.worker.task import Batch


def trace_of(
    batch: Batch, attributes: Mapping[str, str | int], commit: Period, receipt: Receipt | None = None
) -> SplitTrace:
    """The trace of a split that was settled in the period ``commit``: committed, divided or rejected.

    ``plan`` lasts from the look that found the work until the execution took it, ``queue`` from there to the first read.
    """
    split, marks, why = batch.split, batch.marks, batch.poisoned
    sent = marks["sent"][0] if "sent" in marks else split.planned_at
    periods: dict[str, Period] = {"plan": (split.planned_at or sent, sent)}
    if "read" in marks:
        periods["queue"] = (sent, marks["read"][0])
        periods["read"] = marks.get("fetch", marks["read"])
    periods |= {step: marks[step] for step in ("prepare", "infer", "write") if step in marks}
    periods["commit"] = commit
    return SplitTrace(
        split=split,
        periods=periods,
        receipt=receipt,
        attributes=attributes,
        origins=batch.origins,
        more_origins=batch.more_origins,
        error=None if why is None else f"{why.error} in {why.stage}: {why.reason}",
        retried=split.attempt > 1 or batch.deaths > 0 or batch.retries > 0,
    )
