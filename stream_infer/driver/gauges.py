"""The gauges of the service, updated before each scrape."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from stream_infer.contracts import PartitionStatus
from stream_infer.driver.admission import Backlog
from stream_infer.driver.planner import Planner
from stream_infer.splits import Split
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.gpu import Gpus
from stream_infer.telemetry.metrics import Metrics
from stream_infer.telemetry.record_metrics import ActorTime

_RATE_SECONDS = 180.0
_RATE_INTERVAL = 1.0


class Gauges:
    """Sets the gauges from the driver's memory alone, so that a scrape costs milliseconds.

    Attributes:
        state: state of the supervisor.
        actors: number of actors by stage.
        execution: number of the running execution, 0 while none runs.

    Args:
        pools: the stages of each pool of actors.
    """

    def __init__(
        self,
        metrics: Metrics,
        backlog: Backlog,
        planners: Sequence[Planner],
        actor_time: ActorTime,
        pools: Sequence[Sequence[str]],
    ) -> None:
        self.state = "starting"
        self.actors: Mapping[str, int] = {}
        self.execution = 0
        self._metrics = metrics
        self._backlog = backlog
        self._planners = planners
        self._time = actor_time
        self._shares = {stage: 1 / len(pool) for pool in pools for stage in pool}
        self._gpus = Gpus()
        self._rates = {planner.source.name: Rate() for planner in planners}
        self._reported_partitions: dict[str, set[tuple[str, str]]] = {
            planner.source.name: set() for planner in planners
        }
        self._refreshed_at, self._admitted, self._was_busy = time.monotonic(), 0, False
        self._lock = threading.Lock()

    def settled(self, split: Split) -> None:
        """Count the planned records of a final split into the rate of its source."""
        self._rates[split.source].add(split.records)

    def refresh(self) -> None:
        """Update every gauge. Two scrapes at the same time do so one after the other."""
        with self._lock:
            self._instance()
            waiting, in_flight = self._backlog.snapshot()
            self._idle_time(bool(in_flight))
            metrics = self._metrics
            metrics.set(m.WAITING_SPLITS, len(waiting))
            metrics.set(m.PLANNED_RECORDS, sum(split.records for split in waiting))
            metrics.set(m.IN_FLIGHT_SPLITS, len(in_flight))
            metrics.set(m.IN_FLIGHT_BYTES, sum(split.bytes for split in in_flight))
            metrics.set(m.IN_FLIGHT_RECORDS, sum(split.records for split in in_flight))
            for planner in self._planners:
                name = planner.source.name
                self._source(planner, [split for split in (*waiting, *in_flight) if split.source == name])
            self._gpu()

    def _instance(self) -> None:
        self._metrics.set(m.READY, self.state in ("ready", "resting"))
        self._metrics.set(m.EXECUTION, self.execution)
        for stage in self._shares:
            self._metrics.set(m.ACTORS, self.actors.get(stage, 0), stage)

    def _idle_time(self, busy: bool) -> None:
        """Count idle time if nothing was in flight since the last call, because then no worker reports it."""
        now, admitted = time.monotonic(), self._backlog.admitted
        if not busy and not self._was_busy and admitted == self._admitted:
            for stage, count in self.actors.items():
                self._time.add_idle(stage, count * self._shares[stage] * (now - self._refreshed_at))
        self._refreshed_at, self._admitted, self._was_busy = now, admitted, busy

    def _source(self, planner: Planner, splits: Sequence[Split]) -> None:
        metrics, name, lag = self._metrics, planner.source.name, planner.status.lag
        metrics.set(m.WAITING_RECORDS, lag.records, name)
        metrics.set(m.WAITING_BYTES, lag.bytes, name)
        metrics.set(m.WAITING_OBJECTS, lag.objects, name)
        metrics.set(m.SOURCE_UP, planner.trouble is None and planner.failure is None, name)
        partitions = planner.status.partitions
        self._partitions(name, partitions)
        oldest = [split.event_at or split.planned_at for split in splits]
        oldest += [partition.oldest for partition in partitions if partition.oldest is not None]
        if lag.records and lag.oldest is not None:
            oldest.append(lag.oldest)
        metrics.set(m.OLDEST_UNCOMMITTED_TIMESTAMP_SECONDS, min(oldest, default=0.0), name)
        pending = lag.records + sum(split.records for split in splits)
        metrics.set(m.DRAIN_ETA_SECONDS, self._rates[name].eta(pending), name)

    def _partitions(self, source: str, statuses: Iterable[PartitionStatus]) -> None:
        metrics, now = self._metrics, time.time()
        before = self._reported_partitions[source]
        self._reported_partitions[source] = {(status.topic, status.partition) for status in statuses}
        for status in statuses:
            labels = (source, status.topic, status.partition)
            is_behind = status.end > status.position
            metrics.set(m.LAG_RECORDS, max(0, status.end - status.position), *labels)
            metrics.set(m.POSITION_OFFSET, status.position, *labels)
            age = max(0.0, now - status.oldest) if is_behind and status.oldest is not None else 0.0
            metrics.set(m.LAG_SECONDS, age, *labels)
        for topic, partition in before - self._reported_partitions[source]:
            for metric in (m.LAG_RECORDS, m.LAG_SECONDS, m.POSITION_OFFSET):
                metrics.forget(metric, source, topic, partition)

    def _gpu(self) -> None:
        for gpu in self._gpus.read():
            self._metrics.set(m.GPU_UTILIZATION_RATIO, gpu.utilization, gpu.name)
            self._metrics.set(m.GPU_MEMORY_USED_BYTES, gpu.used, gpu.name)
            self._metrics.set(m.GPU_MEMORY_TOTAL_BYTES, gpu.total, gpu.name)


class Rate:
    """Records per second over the last minutes. Thread-safe: one thread adds, another reads."""

    def __init__(self) -> None:
        self._intervals: deque[tuple[float, int]] = deque()  # (start, records)
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def add(self, records: int) -> None:
        now = time.monotonic()
        with self._lock:
            if self._intervals and now - self._intervals[-1][0] < _RATE_INTERVAL:
                began, sum_ = self._intervals[-1]
                self._intervals[-1] = (began, sum_ + records)
            else:
                self._intervals.append((now, records))
            self._trim(now)

    def eta(self, pending: int) -> float:
        """Seconds until this many more records are final; infinite if none became final in the last minutes."""
        now = time.monotonic()
        with self._lock:
            self._trim(now)
            done = sum(records for _, records in self._intervals)
        if not pending:
            return 0.0
        return pending * min(now - self._began, _RATE_SECONDS) / done if done else float("inf")

    def _trim(self, now: float) -> None:
        while self._intervals and now - self._intervals[0][0] > _RATE_SECONDS:
            self._intervals.popleft()
