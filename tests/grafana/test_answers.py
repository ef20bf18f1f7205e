"""A real Prometheus scrapes the real exporter: every expression is answered, and every alert fires.

What the exporter counts is told to it here, in place of an execution.
Windows and waits of the rules are a twentieth of the committed ones.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import proof_kit
import pytest
from prometheus_client import start_http_server
from proof_kit import Proof, until

from grafana import rules
from ops.parts import PartMissing, start_prometheus
from ops.parts.process import free_port
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.declared import Metric
from stream_infer.telemetry.metrics import METRICS, Metrics

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1200)]

TIMES = 20
SOURCE = "stream"
PLACE = (SOURCE, "t", "0")
KNOWN = {"source": SOURCE, "model": "hash", "topic": "t", "partition": "0", "gpu": "0"}
ENDED_BADLY = {m.RECORDS_REJECTED, m.RECORDS_LOST, m.RECORDS_UNACCOUNTED, m.DEPENDENCY_ERRORS}


class Exporter(threading.Thread):
    """A service as its scraper sees it.

    Attributes:
        troubled: whether everything that can go wrong does.
    """

    def __init__(self) -> None:
        super().__init__(name="exporter", daemon=True)
        self.metrics = Metrics([SOURCE], "hash")
        self.metrics.info(m.BUILD_INFO, "1", "3.11", "2.60")
        self.metrics.info(m.MODEL_INFO, "hash", "abc")
        self.started(time.time())
        self.troubled = False
        self._halt = threading.Event()
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        self._server, _ = start_http_server(port, "127.0.0.1", self.metrics.registry)

    def run(self) -> None:
        ticks = 0
        while not self._halt.wait(0.2):
            ticks += 1
            self._tick(ticks)

    def started(self, at: float) -> None:
        self.metrics.set(m.START_TIME_SECONDS, at)

    def end(self) -> None:
        """The process is gone."""
        if not self._halt.is_set():
            self._halt.set()
            self._server.shutdown()
            self._server.server_close()

    def _tick(self, ticks: int) -> None:
        well = not self.troubled
        for metric in METRICS:
            if metric.kind == "counter" and metric not in ENDED_BADLY and (well or metric is not m.SPLITS_COMMITTED):
                self.metrics.add(metric, 1, *_labels(metric))
            if metric.kind == "histogram":
                self.metrics.observe(metric, 0.02 if well else 120, *_labels(metric), trace_id="a" * 32)
        for gauge in (m.LAG_SECONDS, m.GPU_UTILIZATION_RATIO, m.GPU_MEMORY_USED_BYTES, m.GPU_MEMORY_TOTAL_BYTES):
            self.metrics.set(gauge, 1, *_labels(gauge))
        self.metrics.set(m.LAG_RECORDS, 5 if well else 5 + ticks, *PLACE)
        if well:
            self.metrics.set(m.POSITION_OFFSET, ticks, *PLACE)
        else:
            for metric in ENDED_BADLY:
                self.metrics.add(metric, 1, *_labels(metric))
        self.metrics.set(m.READY, well)
        self.metrics.set(m.SOURCE_UP, well, SOURCE)
        self.metrics.set(m.STORM_STOPPED, not well)
        self.metrics.set(m.OLDEST_UNCOMMITTED_TIMESTAMP_SECONDS, time.time() - 1, SOURCE)


def _labels(metric: Metric) -> list[str]:
    return [label.values[0] if label.values else KNOWN[label.name] for label in metric.labels]


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    found = Exporter()
    found.start()
    yield found
    found.end()


def test_every_expression_is_answered_and_every_alert_fires(exporter: Exporter, tmp_path: Path) -> None:
    everything = [*proof_kit.of_panels(), *proof_kit.of_records(), *proof_kit.of_alerts()]
    try:
        with start_prometheus(
            tmp_path / "prometheus", {"stream-infer": [exporter.address]}, rules.hastened(TIMES)
        ) as prometheus:
            proof = Proof(prometheus)
            until(lambda: proof.ask(everything) or not proof.silent(), "answers", 300, lambda: str(proof.silent()))
            assert prometheus.exemplars("stream_infer_end_to_end_seconds_bucket")
            assert [rule for rule in prometheus.rules() if rule["health"] != "ok"] == []
            proof.look()
            assert proof.fired == {}, "nothing is wrong yet"
            exporter.troubled = True
            late = {"Restarts", "Down", "Absent"}
            names = {name.removeprefix("StreamInfer") for name in proof_kit.NAMES}
            proof.until_fired(*(names - late))
            for start in range(1, 4):
                at = time.time() + start
                exporter.started(at)
                seen = f"stream_infer_start_time_seconds > {at - 0.5}"
                until(lambda seen=seen: prometheus.query(seen), "a start is seen", 60)
            proof.until_fired("Restarts")
            exporter.end()
            proof.until_fired(*late)
            print(f"\n{proof.report()}")
    except PartMissing as missing:
        pytest.skip(str(missing))
    assert proof.fired.keys() == proof_kit.NAMES
