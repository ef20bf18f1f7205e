"""The last minute of a snapshot: rates, counts and means from the metrics. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from stream_infer.ops.watch.samples import Window
from stream_infer.ops.watch.snapshot import DeathKind, Gpu, Recent, RejectKind
from stream_infer.telemetry import metrics as m


def recent_of(window: Window | None, history: Sequence[float]) -> Recent:
    """Counts, rates and mean times of the window."""
    if window is None:
        return Recent()
    kinds = [
        RejectKind(source=source, stage=stage, error_type=error, records=int(number))
        for (source, stage, error), number in window.grown_by(m.RECORDS_REJECTED).items()
        if number
    ]
    return Recent(
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
            DeathKind(stage=stage, cause=cause, workers=int(number))
            for (stage, cause), number in window.grown_by(m.WORKER_DEATHS).items()
            if number
        ],
        history=list(history),
    )


def gpus_of(window: Window | None) -> list[Gpu]:
    """The GPUs of the driver's machine."""
    if window is None:
        return []
    return [
        Gpu(
            name=name,
            utilization=value,
            memory_used=int(window.now(m.GPU_MEMORY_USED_BYTES, gpu=name)),
            memory_total=int(window.now(m.GPU_MEMORY_TOTAL_BYTES, gpu=name)),
        )
        for (name,), value in sorted(window.newest.of(m.GPU_UTILIZATION_RATIO).items())
    ]
