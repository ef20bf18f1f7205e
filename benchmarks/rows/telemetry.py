"""The cost of telemetry: the main job with traces and a scrape each second, and without."""

from __future__ import annotations

import contextlib
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import median
from types import SimpleNamespace
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.exposition import choose_encoder

from benchmarks.kit import DIGEST, Kit, every
from benchmarks.results import Result
from benchmarks.texts import texts
from stream_infer.contracts import ORIGINS, Lag, PartitionStatus, SourceStatus
from stream_infer.driver.admission import Backlog
from stream_infer.driver.gauges import Gauges
from stream_infer.driver.traces import trace_of
from stream_infer.ops.parts.process import free_port
from stream_infer.splits import Receipt, Split
from stream_infer.tasks import Done, Task, Trail
from stream_infer.telemetry import record_metrics
from stream_infer.telemetry.metrics import Metrics
from stream_infer.telemetry.record_metrics import ActorTime
from stream_infer.telemetry.tracing import SpanRecorder

PARTITIONS = 4
_RECORDS = 20_000
_RATE = 50_000
_OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def measure(kit: Kit) -> Result:
    """Off and on by turns over one topic; then scrapes of a registry with 64 partitions."""
    count, turns = (100_000, 1) if kit.quick else (1_600_000, 5)
    kit.topic("texts", PARTITIONS, texts(count))
    result = Result("telemetry", "Cost of telemetry: Kafka, real text → hash → Parquet", "records/s")
    rates: dict[str, list[float]] = {"off": [], "on": []}
    cheap: dict[str, list[float]] = {"off": [], "on": []}
    scraped = 0
    if not kit.quick:
        kit.run_to_end(kit.pipeline("warm", kit.kafka_source("texts"), DIGEST))
    for turn in range(turns):
        for kind in ("off", "on") if turn % 2 else ("on", "off"):
            with _watchers(kind == "on") as (more, counts):
                ran = kit.run_to_end(kit.pipeline(f"{kind}-{turn}", kit.kafka_source("texts"), DIGEST, **more))
            rates[kind].append(count / ran.working)
            cheap[kind].append(count / ran.cpu)
            scraped += counts["scrapes"]
            if kind == "on":
                result.notes.append(f"on, turn {turn + 1}: {counts['scrapes']} scrapes, {counts['spans']:,} B of spans")
    result.bars = {
        "stream-infer, scraped and traced": median(rates["on"]),
        "stream-infer, without telemetry": median(rates["off"]),
    }
    # All cores are busy, so CPU-seconds decide; the wall clock also sees what else the machine does.
    limit = "the machine's own noise between turns is wider than the cost"
    result.add_ratio_by_turns(
        "records per CPU-second, on ÷ off, median of the turns", cheap["on"], cheap["off"], 0.97, limit
    )
    result.add_statement("records per second, on ÷ off, median of the turns", f"{median(_by_turn(rates)):.2f}")
    for unit, rates_of in (("CPU-second", cheap), ("second", rates)):
        ratios = ", ".join(f"{ratio:.2f}" for ratio in _by_turn(rates_of))
        result.notes.append(f"records per {unit}, on ÷ off by turn: {ratios}")
    result.notes.append(f"{count:,} texts, {scraped} scrapes answered")
    result.add_at_most("one scrape with 64 partitions, CPU", 1000 * _scrape_seconds(64), 50, "ms")
    for links in (0, ORIGINS):
        share = 100 * _split_seconds(links) * _RATE / _RECORDS
        work = f"metrics and spans of a split of {_RECORDS:,} with {links:,} links, CPU at {_RATE:,}/s"
        result.add_at_most(
            work, share, 3, "% of a core", "a link costs 10 to 15 µs, all of it outside the path of the data"
        )
    return result


def _by_turn(rates: dict[str, list[float]]) -> list[float]:
    """On divided by off, by turn; the two runs of a turn follow each other on the machine as it is in that minute."""
    return [one / other for one, other in zip(rates["on"], rates["off"], strict=True)]


def _scrape_seconds(partitions: int) -> float:
    """CPU seconds of one scrape, median of 50."""
    metrics = Metrics(["stream", "inbox"], "M")
    statuses = [PartitionStatus("texts", str(number), 5, 100, time.time()) for number in range(partitions)]
    planner: Any = SimpleNamespace(
        source=SimpleNamespace(name="stream"),
        status=SourceStatus(Lag(records=5), statuses),
        trouble=None,
        failure=None,
    )
    gauges = Gauges(metrics, Backlog(1, 1, 1), [planner], ActorTime(metrics), [["read", "infer", "write"]])
    metrics.before_scrape(gauges.refresh)
    encode, _ = choose_encoder(_OPENMETRICS)
    spent = []
    for _ in range(50):
        started = time.process_time()
        encode(metrics.registry)
        spent.append(time.process_time() - started)
    return median(spent)


def _split_seconds(links: int) -> float:
    """CPU seconds that the driver spends on the metrics and spans of one split, median of 50."""
    metrics, exporter = Metrics(["s"], "M"), InMemorySpanExporter()
    recorder = SpanRecorder("p", str, SimpleSpanProcessor(exporter))
    origins = [f"00-{number + 1:032x}-{number + 1:016x}-01" for number in range(links)]
    seconds, spent = {"read": 0.2, "infer": 0.1, "write": 0.1}, []
    timestamps = {"sent": (1, 1), "fetch": (2, 3), "prepare": (3, 4), "read": (2, 4), "infer": (4, 5), "write": (5, 6)}
    trail = Trail(seconds, timestamps, stalls={"read": (1.0, 1.0)}, origins=tuple(origins))
    for number in range(50):
        split = Split.of("s", {"n": number}, folder="f", records=_RECORDS, bytes=1, planned_at=1.0, event_at=1.0)
        receipt = Receipt(split.split_id, "s", 1, {}, rows=_RECORDS, received=_RECORDS, seconds=seconds, model="M@1")
        started = time.process_time()
        ActorTime(metrics).add(trail)
        record_metrics.committed(metrics, split, receipt, trail)
        recorder.record(trace_of(Done(Task(split, trail=trail)), {"messaging.system": "kafka"}, (6, 7), receipt))
        encode_spans(exporter.get_finished_spans()).SerializeToString()
        spent.append(time.process_time() - started)
        exporter.clear()
    return median(spent)


@contextlib.contextmanager
def _watchers(on: bool) -> Iterator[tuple[dict[str, Any], dict[str, int]]]:
    """Settings of a service that is watched by a scraper and a receiver of traces, and what these saw."""
    counts = {"scrapes": 0, "spans": 0}
    if not on:
        yield {}, counts
        return
    port = free_port()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"accept": _OPENMETRICS})

    def scrape() -> None:
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=5) as answer:
            answer.read()
            counts["scrapes"] += 1

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            counts["spans"] += len(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        telemetry = {"logs": "text", "otlp": f"http://127.0.0.1:{server.server_port}"}
        with every(1.0, scrape):
            yield {"serve": {"port": port}, "telemetry": telemetry}, counts
    finally:
        server.shutdown()
        server.server_close()
