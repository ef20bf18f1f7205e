"""The list of all metrics, with name, labels, unit and buckets.

The registry is built from `METRICS`; tests compare docs, dashboards and alerts with it. Every label has few values: never a
record, a key, a split or the text of an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, Final

import prometheus_client as prometheus

from stream_infer.telemetry import labels as by
from stream_infer.telemetry.metric_spec import PREFIX, Label, Metric
from stream_infer.telemetry.refreshing import Refreshing

RECORDS_RECEIVED = Metric(
    "counter",
    "records_received",
    "Records received by the read stage, of splits that are final, and records lost before they could be read. "
    "Each is committed, rejected, lost or unaccounted.",
    (by.SOURCE,),
    "records",
)
RECORDS_COMMITTED = Metric("counter", "records_committed", "Records that became output rows.", (by.SOURCE,), "records")
RECORDS_REJECTED = Metric(
    "counter",
    "records_rejected",
    "Records that cannot be processed, by the stage that rejected them and the class of the error.",
    (by.SOURCE, by.STAGE, Label("error_type", by.ERROR_TYPES)),
    "records",
)
RECORDS_LOST = Metric(
    "counter",
    "records_lost",
    "Records that can no longer be read: named losses.",
    (by.SOURCE, Label("reason", ("expired", "superseded", "deleted", "other"))),
    "records",
)
RECORDS_UNACCOUNTED = Metric(
    "counter",
    "records_unaccounted",
    "Records received by the read stage that are neither row, reject nor loss at commit. Must stay 0.",
    (by.SOURCE,),
    "records",
)
SPLITS_COMMITTED = Metric("counter", "splits_committed", "Splits made final by their receipt.", (by.SOURCE,), "splits")
SPLIT_RETRIES = Metric(
    "counter", "split_retries", "Splits dispatched again after an attempt without an outcome.", (by.SOURCE,)
)
BISECTIONS = Metric(
    "counter", "bisections", "Splits bisected to find a record that cannot be processed.", (by.SOURCE,), "splits"
)
WORKER_DEATHS = Metric(
    "counter",
    "worker_deaths",
    "Worker processes that ended while they worked on a split: they crashed (died), hung and were killed, or were killed because "
    "their node ran out of memory. The split is tried again.",
    (by.STAGE, Label("cause", ("died", "hung", "memory"))),
)
READ_BYTES = Metric("counter", "read_bytes", "Content read, of committed splits.", (by.SOURCE,), "bytes")
WRITTEN_BYTES = Metric("counter", "written_bytes", "Output files written.", (by.SOURCE,), "bytes")
INFERENCES = Metric("counter", "inferences", "Records that the model answered.", (by.MODEL,), "records")
BATCHES = Metric(
    "counter", "batches", "Micro-batches that the model ran; inferences ÷ batches is the mean batch.", (by.MODEL,)
)
COST_UNITS = Metric(
    "counter", "cost_units", "Cost of the answered records in the model's own units (tokens, pixels, …).", (by.MODEL,)
)
PADDING_UNITS = Metric(
    "counter",
    "padding_units",
    "Cost paid for padding, in the same units; padding ÷ (cost + padding) is the waste.",
    (by.MODEL,),
)
STAGE_BUSY_SECONDS = Metric(
    "counter", "stage_busy_seconds", "Actor-seconds of work on splits, by stage.", (by.STAGE,), "seconds"
)
STAGE_BACKPRESSURED_SECONDS = Metric(
    "counter",
    "stage_backpressured_seconds",
    "Actor-seconds without work although a split was ready for the stage: the next stage is full.",
    (by.STAGE,),
    "seconds",
)
STAGE_IDLE_SECONDS = Metric(
    "counter",
    "stage_idle_seconds",
    "Actor-seconds without work while no split was ready for the stage. The stages of one pool share its idle time.",
    (by.STAGE,),
    "seconds",
)
DEPENDENCY_ERRORS = Metric(
    "counter",
    "dependency_errors",
    "Failures of dependencies, by stage and dependency; the failed try is repeated.",
    (by.ANY_STAGE, Label("error_type", by.DEPENDENCIES)),
)
EXECUTIONS = Metric(
    "counter",
    "executions",
    "Executions by how they ended.",
    (Label("end", ("rotated", "idle", "failed", "drained")),),
)
REJECTS_PUBLISHED = Metric(
    "counter",
    "rejects_published",
    "Rejects published, by target.",
    (Label("target", by.REJECT_TARGETS),),
    "records",
)
SPANS_DROPPED = Metric(
    "counter", "spans_dropped", "Spans that were not sent: the receiver was down or slow, or the queue was full."
)

SPLIT_SECONDS = Metric("histogram", "split_seconds", "Time of one split in one stage.", (by.STAGE,), "seconds", by.WORK)
END_TO_END_SECONDS = Metric(
    "histogram", "end_to_end_seconds", "Oldest event of a split to its visible file.", (by.SOURCE,), "seconds", by.WAIT
)
QUEUE_WAIT_SECONDS = Metric(
    "histogram", "queue_wait_seconds", "A split planned to its first read.", (by.SOURCE,), "seconds", by.WAIT
)
LEDGER_COMMIT_SECONDS = Metric(
    "histogram", "ledger_commit_seconds", "Ledger transactions that commit receipts.", (), "seconds", by.COMMIT
)

READY = Metric("gauge", "ready", "1 while a warm execution takes work, or none is needed.")
STANDBY = Metric("gauge", "standby", "1 while another instance owns the ledger and this one waits for it.")
CIRCUIT_BREAKER_OPEN = Metric(
    "gauge", "circuit_breaker_open", "1 while the circuit breaker is open because everything fails."
)
EXECUTION = Metric("gauge", "execution", "Number of the running execution, 0 while none runs.")
LEDGER_EPOCH = Metric("gauge", "ledger_epoch", "Fencing number of this instance, 0 before it owns the ledger.")
START_TIME_SECONDS = Metric(
    "gauge", "start_time_seconds", "When this instance started, since the epoch.", (), "seconds"
)
ACTORS = Metric("gauge", "actors", "Actors that run a stage.", (by.STAGE,))
IN_FLIGHT_RECORDS = Metric("gauge", "in_flight_records", "Records in the execution, as planned.", (), "records")
IN_FLIGHT_BYTES = Metric("gauge", "in_flight_bytes", "Estimated input bytes in the execution.", (), "bytes")
IN_FLIGHT_LIMIT_BYTES = Metric(
    "gauge", "in_flight_limit_bytes", "Most input bytes that the execution takes (limits.in_flight).", (), "bytes"
)
IN_FLIGHT_SPLITS = Metric("gauge", "in_flight_splits", "Splits in the execution.", (), "splits")
WAITING_SPLITS = Metric("gauge", "waiting_splits", "Planned splits that wait for admission.", (), "splits")
PLANNED_RECORDS = Metric("gauge", "planned_records", "Records of splits that wait for admission.", (), "records")
LAG_RECORDS = Metric(
    "gauge", "lag_records", "Records of a partition behind the committed position.", by.PARTITION, "records"
)
LAG_SECONDS = Metric(
    "gauge",
    "lag_seconds",
    "Age of the record at the committed position of a partition, 0 where none waits.",
    by.PARTITION,
    "seconds",
)
POSITION_OFFSET = Metric(
    "gauge",
    "position_offset",
    "Committed offset of a partition: all records before it are final.",
    by.PARTITION,
    "records",
)
WAITING_RECORDS = Metric(
    "gauge", "waiting_records", "Records that wait and are not planned yet.", (by.SOURCE,), "records"
)
WAITING_BYTES = Metric("gauge", "waiting_bytes", "Bytes that wait and are not planned yet.", (by.SOURCE,), "bytes")
WAITING_OBJECTS = Metric("gauge", "waiting_objects", "Objects that wait and are not planned yet (files).", (by.SOURCE,))
OLDEST_UNCOMMITTED_TIMESTAMP_SECONDS = Metric(
    "gauge",
    "oldest_uncommitted_timestamp_seconds",
    "Event time of the oldest work that is not final, since the epoch; 0 where nothing waits.",
    (by.SOURCE,),
    "seconds",
)
LAST_COMMIT_TIMESTAMP_SECONDS = Metric(
    "gauge",
    "last_commit_timestamp_seconds",
    "When a split of the source was last made final, since the epoch; 0 before the first.",
    (by.SOURCE,),
    "seconds",
)
SOURCE_UP = Metric("gauge", "source_up", "0 while the source waits for a dependency, or has stopped.", (by.SOURCE,))
DRAIN_ETA_SECONDS = Metric(
    "gauge",
    "drain_eta_seconds",
    "Time until everything that waits is final at the rate of the last minutes; +Inf where work waits without progress.",
    (by.SOURCE,),
    "seconds",
)
GPU_UTILIZATION_RATIO = Metric(
    "gauge",
    "gpu_utilization_ratio",
    "Share of the last second in which a GPU of the driver's machine worked, 0 … 1.",
    (by.GPU,),
    "ratio",
)
GPU_MEMORY_USED_BYTES = Metric("gauge", "gpu_memory_used_bytes", "GPU memory in use.", (by.GPU,), "bytes")
GPU_MEMORY_TOTAL_BYTES = Metric("gauge", "gpu_memory_total_bytes", "Total GPU memory.", (by.GPU,), "bytes")

BUILD_INFO = Metric(
    "info", "build", "Versions of the running service.", (Label("version"), Label("python"), Label("ray"))
)
MODEL_INFO = Metric(
    "info", "model", "Model that made the rows, from the first receipt on.", (by.MODEL, Label("digest"))
)

# by the convention that every Prometheus client keeps; exported by its library
PROCESS_MEMORY_BYTES = Metric(
    "gauge", "resident_memory_bytes", "Memory of the driver's process.", unit="bytes", prefix="process"
)
PROCESS_CPU_SECONDS = Metric(
    "counter", "cpu_seconds", "CPU time of the driver's process.", unit="seconds", prefix="process"
)
PROCESS_OPEN_FDS = Metric("gauge", "open_fds", "Files and connections that the driver has open.", prefix="process")
PROCESS_MAX_FDS = Metric("gauge", "max_fds", "Files and connections that it may have open.", prefix="process")

_CLASSES: Any = {"counter": prometheus.Counter, "gauge": prometheus.Gauge, "histogram": prometheus.Histogram}
METRICS: Final = tuple(metric for metric in tuple(globals().values()) if isinstance(metric, Metric))


class Metrics:
    """The metrics of one service, in a registry of their own. Thread-safe.

    Every label set with values that are known in advance exists from the start, at 0.

    Args:
        sources: names of the pipeline's sources.
        model: the model's name, without its digest.
    """

    def __init__(self, sources: Sequence[str] = (), model: str = "") -> None:
        prometheus.disable_created_metrics()  # a second series beside each counter, which nothing here uses
        self.registry = prometheus.CollectorRegistry()
        self.model = model
        self._refresh: list[Callable[[], None]] = []
        self.registry.register(Refreshing(self._refresh))  # first, so that the gauges are fresh
        label_values = {"source": tuple(sources), "model": (model,) if model else ()}
        self._made = {metric.name: self._make(metric, label_values) for metric in METRICS if metric.prefix == PREFIX}
        prometheus.ProcessCollector(registry=self.registry)

    def add(self, metric: Metric, amount: float = 1.0, *labels: str) -> None:
        """Add to a counter. Labels are in the order of the metric's labels, here and below."""
        self._child(metric, labels).inc(amount)

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Set a gauge."""
        self._child(metric, labels).set(value)

    def observe(self, metric: Metric, value: float, *labels: str, trace_id: str = "") -> None:
        """Add a value to a histogram, with its trace as an exemplar where there is one."""
        self._child(metric, labels).observe(value, {"trace_id": trace_id} if trace_id else None)

    def info(self, metric: Metric, *values: str) -> None:
        """Set an info's labels."""
        self._made[metric.name].info(dict(zip(metric.label_names, values, strict=True)))

    def forget(self, metric: Metric, *labels: str) -> None:
        """Remove a label set that has ended, such as a partition."""
        self._made[metric.name].remove(*labels)

    def value(self, metric: Metric, *labels: str) -> float:
        """The present value of a counter or gauge; 0 where it was never set."""
        names = dict(zip(metric.label_names, labels, strict=True))
        for family in self._made[metric.name].collect():
            for sample in family.samples:
                if sample.name == metric.full_name and sample.labels == names:
                    return float(sample.value)
        return 0.0

    def before_scrape(self, refresh: Callable[[], None]) -> None:
        """Call a function before each scrape, for gauges that are computed then. It must be quick."""
        self._refresh.append(refresh)

    def _make(self, metric: Metric, label_values: dict[str, tuple[str, ...]]) -> Any:
        unit = metric.unit if metric.name.endswith(f"_{metric.unit}") else ""
        fixed: dict[str, Any] = {"registry": self.registry, "unit": unit}
        name = f"{PREFIX}_{metric.name}"
        if metric.kind == "info":
            return prometheus.Info(name, metric.help, registry=self.registry)
        if metric.kind == "histogram":
            fixed["buckets"] = metric.buckets
        made = _CLASSES[metric.kind](name, metric.help, metric.label_names, **fixed)
        if metric.labels:
            for values in product(*(label.values or label_values.get(label.name, ()) for label in metric.labels)):
                made.labels(*values)
        return made

    def _child(self, metric: Metric, values: Sequence[str]) -> Any:
        made = self._made[metric.name]
        if not metric.labels:
            return made
        return made.labels(*map(_bounded, metric.labels, values))


def _bounded(label: Label, value: str) -> str:
    return value if label.open or not label.values or value in label.values else label.values[-1]
