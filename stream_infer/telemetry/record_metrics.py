"""What an event of the engine means in figures."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from stream_infer.splits import Loss, Receipt, Reject, Split
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metrics import Metrics


def committed(
    metrics: Metrics, split: Split, receipt: Receipt, begun: float | None = None, oldest: float | None = None
) -> None:
    """Count one split that its receipt made final.

    Args:
        begun: when its reading began, where this instance saw it; a file that an earlier one left was not read here.
        oldest: event time of its oldest record, where it was read here. The planner only knows when it first heard of
            a split's records, which behind a backlog is long after they came to be.
    """
    source = split.source
    received = receipt.records if receipt.received is None else receipt.received
    metrics.add(m.SPLITS_COMMITTED, 1, source)
    metrics.add(m.RECORDS_RECEIVED, received, source)
    metrics.add(m.RECORDS_UNACCOUNTED, abs(received - receipt.records), source)
    metrics.add(m.RECORDS_COMMITTED, receipt.rows, source)
    if not split.replay:  # what is not there any more when it is asked for again stays the reject that it was
        _losses(metrics, receipt.losses)
    _rejects(metrics, source, receipt.rejects)
    metrics.add(m.READ_BYTES, receipt.bytes_in, source)
    metrics.add(m.WRITTEN_BYTES, receipt.bytes_out, source)
    _model(metrics, receipt)
    for step, seconds in receipt.seconds.items():
        metrics.observe(m.SPLIT_SECONDS, seconds, step)
    if split.event_at is not None:
        event_at = split.event_at if oldest is None else min(oldest, split.event_at)
        waited = max(0.0, (receipt.written_at or time.time()) - event_at)
        metrics.observe(m.END_TO_END_SECONDS, waited, source, trace_id=split.trace_id)
    if begun is not None and split.planned_at:
        waited = max(0.0, begun - split.planned_at)
        metrics.observe(m.QUEUE_WAIT_SECONDS, waited, source, trace_id=split.trace_id)
    metrics.set(m.LAST_COMMIT_TIMESTAMP_SECONDS, time.time(), source)


def refused(metrics: Metrics, source: str, rejects: Sequence[Reject]) -> None:
    """Count records that were rejected unread, because their split killed its workers."""
    metrics.add(m.RECORDS_RECEIVED, len(rejects), source)
    _rejects(metrics, source, rejects)


def lost(metrics: Metrics, losses: Iterable[Loss]) -> None:
    """Count records that were gone before they could be planned."""
    for loss in losses:
        metrics.add(m.RECORDS_RECEIVED, loss.records, loss.source)
        _losses(metrics, [loss])


class ActorTime:
    """Actor-seconds by stage: busy, backpressured, idle. Thread-safe.

    Workers tell what they waited for with their next split, which may be hours later. While nothing at all is in
    flight, idle time is therefore counted as it passes, and not again when a worker tells of it.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._ahead: defaultdict[str, float] = defaultdict(float)  # idle seconds counted that no worker has told of yet
        self._lock = threading.Lock()

    def told(self, busy: Mapping[str, float], waits: Mapping[str, Sequence[float]]) -> None:
        """What a split brought along: seconds of work by step, and before it idle and backpressured ones."""
        with self._lock:
            for step, seconds in busy.items():
                self._metrics.add(m.STAGE_BUSY_SECONDS, seconds, step)
            for step, (idle, backpressured) in waits.items():
                counted = min(idle, self._ahead[step])
                self._ahead[step] -= counted
                self._metrics.add(m.STAGE_IDLE_SECONDS, idle - counted, step)
                self._metrics.add(m.STAGE_BACKPRESSURED_SECONDS, backpressured, step)

    def rested(self, step: str, seconds: float) -> None:
        """So many actor-seconds passed with nothing in flight."""
        with self._lock:
            self._ahead[step] += seconds
            self._metrics.add(m.STAGE_IDLE_SECONDS, seconds, step)

    def forget(self) -> None:
        """The actors are gone: what they did not tell they never will."""
        with self._lock:
            self._ahead.clear()


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
