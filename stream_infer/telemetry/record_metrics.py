"""The metrics of settled splits and of the actors' time."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from stream_infer.splits import Loss, Receipt, Reject, Split
from stream_infer.tasks import Trail
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metrics import Metrics


def committed(metrics: Metrics, split: Split, receipt: Receipt, trail: Trail | None = None) -> None:
    """Count a split that its receipt made final.

    Args:
        trail: timings of this attempt; None for a file of an earlier instance. It also has the event time of the oldest
            record. The planner has only the time at which it saw the records first; with a backlog that is much later.
    """
    source = split.source
    received = receipt.records if receipt.received is None else receipt.received
    metrics.add(m.SPLITS_COMMITTED, 1, source)
    metrics.add(m.RECORDS_RECEIVED, received, source)
    metrics.add(m.RECORDS_UNACCOUNTED, abs(received - receipt.records), source)
    metrics.add(m.RECORDS_COMMITTED, receipt.rows, source)
    if not split.replay:  # a record that no longer exists at its replay stays the reject that it was
        _losses(metrics, receipt.losses)
    _rejects(metrics, source, receipt.rejects)
    metrics.add(m.READ_BYTES, receipt.bytes_in, source)
    metrics.add(m.WRITTEN_BYTES, receipt.bytes_out, source)
    _model(metrics, receipt)
    for stage, seconds in (receipt if trail is None else trail).seconds.items():
        metrics.observe(m.SPLIT_SECONDS, seconds, stage)
    if split.event_at is not None:
        event_at = split.event_at if trail is None or trail.oldest is None else min(trail.oldest, split.event_at)
        waited = max(0.0, (receipt.written_at or time.time()) - event_at)
        metrics.observe(m.END_TO_END_SECONDS, waited, source, trace_id=split.trace_id)
    if trail is not None and "read" in trail.timestamps and split.planned_at:
        waited = max(0.0, trail.timestamps["read"][0] - split.planned_at)
        metrics.observe(m.QUEUE_WAIT_SECONDS, waited, source, trace_id=split.trace_id)
    metrics.set(m.LAST_COMMIT_TIMESTAMP_SECONDS, time.time(), source)


def rejected(metrics: Metrics, source: str, rejects: Sequence[Reject]) -> None:
    """Count records that are rejected because their split killed its workers."""
    metrics.add(m.RECORDS_RECEIVED, len(rejects), source)
    _rejects(metrics, source, rejects)


def lost(metrics: Metrics, losses: Iterable[Loss]) -> None:
    """Count records that expired before they could be planned."""
    for loss in losses:
        metrics.add(m.RECORDS_RECEIVED, loss.records, loss.source)
        _losses(metrics, [loss])


class ActorTime:
    """Actor-seconds by stage: busy, backpressured, idle. Thread-safe.

    Workers report their stalls with their next split, which may be hours later. While nothing is in flight, idle time is
    therefore counted as it passes, and not again when a worker reports it.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        # idle seconds that no worker has reported yet, by stage
        self._counted_ahead: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    def add(self, trail: Trail) -> None:
        """Count the busy seconds of a split, and the stalls before it."""
        with self._lock:
            for stage, seconds in trail.seconds.items():
                self._metrics.add(m.STAGE_BUSY_SECONDS, seconds, stage)
            for stage, (idle, backpressured) in trail.stalls.items():
                counted = min(idle, self._counted_ahead[stage])
                self._counted_ahead[stage] -= counted
                self._metrics.add(m.STAGE_IDLE_SECONDS, idle - counted, stage)
                self._metrics.add(m.STAGE_BACKPRESSURED_SECONDS, backpressured, stage)

    def add_idle(self, stage: str, seconds: float) -> None:
        """Count actor-seconds that passed with nothing in flight."""
        with self._lock:
            self._counted_ahead[stage] += seconds
            self._metrics.add(m.STAGE_IDLE_SECONDS, seconds, stage)

    def forget(self) -> None:
        """Drop the idle time that was counted ahead: the actors have ended and report nothing any more."""
        with self._lock:
            self._counted_ahead.clear()


def _model(metrics: Metrics, receipt: Receipt) -> None:
    model = metrics.model
    metrics.add(m.INFERENCES, receipt.inferences, model)
    metrics.add(m.BATCHES, receipt.batches, model)
    metrics.add(m.COST_UNITS, receipt.cost, model)
    if receipt.padding < 1:
        metrics.add(m.PADDING_UNITS, receipt.cost * receipt.padding / (1 - receipt.padding), model)
    if receipt.model:
        metrics.info(m.MODEL_INFO, model, receipt.model.rpartition("@")[2])


def _losses(metrics: Metrics, losses: Iterable[Loss]) -> None:
    for loss in losses:
        metrics.add(m.RECORDS_LOST, loss.records, loss.source, loss.reason)


def _rejects(metrics: Metrics, source: str, rejects: Sequence[Reject]) -> None:
    for (stage, error), number in Counter((reject.stage, reject.error) for reject in rejects).items():
        metrics.add(m.RECORDS_REJECTED, number, source, stage, error)
    metrics.add(m.REJECTS_PUBLISHED, len(rejects), "ledger")
