"""The one typed list of metrics. Everything that is counted has its name, labels and unit here."""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from stream_infer.splits import Receipt, Reject, Split

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Metrics:
    """The metrics of one service, in a registry of their own. Labels have few values: no record, key or error text."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.records = Counter(
            "stream_infer_records", "Records by what became of them.", ["source", "outcome"], registry=self.registry
        )
        self.rejects = Counter(
            "stream_infer_rejects", "Rejected records by stage.", ["source", "stage"], registry=self.registry
        )
        self.splits = Counter("stream_infer_splits", "Committed splits.", ["source"], registry=self.registry)
        self.bisections = Counter(
            "stream_infer_bisections",
            "Splits divided to find a record that cannot be processed.",
            ["source"],
            registry=self.registry,
        )
        self.input_bytes = Counter(
            "stream_infer_input_bytes", "Content read, of committed splits.", ["source"], registry=self.registry
        )
        self.output_bytes = Counter("stream_infer_output_bytes", "Files written.", ["source"], registry=self.registry)
        self.step_seconds = Histogram(
            "stream_infer_step_seconds",
            "Time of one split in one step.",
            ["step"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "stream_infer_commit_seconds",
            "Ledger transactions that commit receipts.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.latency_seconds = Histogram(
            "stream_infer_latency_seconds",
            "Oldest event of a split to its visible file.",
            ["source"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.lag_records = Gauge(
            "stream_infer_lag_records", "Records known to wait, not yet planned.", ["source"], registry=self.registry
        )
        self.waiting_splits = Gauge(
            "stream_infer_waiting_splits", "Planned splits that wait for admission.", registry=self.registry
        )
        self.in_flight_splits = Gauge(
            "stream_infer_in_flight_splits", "Splits in the execution.", registry=self.registry
        )
        self.in_flight_bytes = Gauge(
            "stream_infer_in_flight_bytes", "Estimated input bytes in the execution.", registry=self.registry
        )
        self.generations = Counter(
            "stream_infer_generations", "Generations by how they ended.", ["end"], registry=self.registry
        )
        self.ready = Gauge("stream_infer_ready", "1 while a warm generation takes work.", registry=self.registry)

    def committed(self, split: Split, receipt: Receipt) -> None:
        """Count one committed split."""
        source = split.source
        self.splits.labels(source).inc()
        self.records.labels(source, "row").inc(receipt.rows)
        self.records.labels(source, "lost").inc(sum(loss.records for loss in receipt.losses))
        self.rejected(source, receipt.rejects)
        self.input_bytes.labels(source).inc(receipt.bytes_in)
        self.output_bytes.labels(source).inc(receipt.bytes_out)
        for step, seconds in receipt.seconds.items():
            self.step_seconds.labels(step).observe(seconds)
        if split.event_at is not None:
            self.latency_seconds.labels(source).observe(max(0.0, (receipt.written_at or time.time()) - split.event_at))

    def rejected(self, source: str, rejects: Sequence[Reject]) -> None:
        """Count rejected records."""
        self.records.labels(source, "rejected").inc(len(rejects))
        for stage, number in Tally(reject.stage for reject in rejects).items():
            self.rejects.labels(source, stage).inc(number)
