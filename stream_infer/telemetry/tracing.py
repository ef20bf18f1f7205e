"""Traces: one a split, made when it is settled from the times that its workers brought along.

Workers know nothing of OpenTelemetry. The driver's threads only put what they know on a bounded queue; a thread of its
own makes spans of it and sends them. A receiver that is down costs spans, which are counted, and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import random
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, set_span_in_context

from stream_infer.config import Telemetry
from stream_infer.contracts import ORIGINS
from stream_infer.splits import Receipt, Split
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metrics import Metrics

log = logging.getLogger(__name__)
STEPS: Final = ("plan", "queue", "read", "prepare", "infer", "write", "commit")
_WAITING = 512  # traces: as much as a slow receiver may be behind
_TOGETHER = 64
_GATHER_SECONDS = 0.5
_SEND_SECONDS = 2.0
_CLOSE_SECONDS = 2.0
Period = Sequence[float]


@dataclass(frozen=True, slots=True)
class SplitTrace:
    """What is known of a split when it is settled.

    Attributes:
        periods: start and end of each of `STEPS`, as far as it took place, seconds since the epoch.
        attributes: what it read, in the words of the semantic conventions (`contracts.Source.attributes`).
        origins: ``traceparent`` of its records' producers; ``more_origins`` beyond these are only counted.
        error: why it came to no good end, in one sentence.
        retried: it took more than one try.
    """

    split: Split
    periods: Mapping[str, Period]
    receipt: Receipt | None = None
    attributes: Mapping[str, str | int] = field(default_factory=dict)
    origins: Sequence[str] = ()
    more_origins: int = 0
    error: str | None = None
    retried: bool = False


class Tracer:
    """Sends the traces of one pipeline. `settled` may be called from any thread and never waits.

    Args:
        redact: takes secrets out of a text.
        exporter: where spans go; by default to ``settings.otlp``.
    """

    def __init__(
        self,
        settings: Telemetry,
        pipeline: str,
        metrics: Metrics,
        redact: Callable[[str], str] = str,
        exporter: SpanExporter | None = None,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._exporter = exporter or _exporter(settings)
        self._spans = Spans(pipeline, redact)
        self._queue: queue.Queue[SplitTrace] = queue.Queue(_WAITING)
        self._closing = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def settled(self, trace: SplitTrace) -> None:
        """A split is settled. Its trace is sent if it is sampled; dropped and counted when the queue is full."""
        if not self._sampled(trace):
            return
        try:
            self._queue.put_nowait(trace)
        except queue.Full:
            self._dropped(len(trace.periods) + 1)

    def close(self) -> None:
        """Send what waits, for two seconds at most; the rest is dropped."""
        self._closing.set()
        self._thread.join(_CLOSE_SECONDS * 0.75)
        self._exporter.shutdown()
        self._thread.join(_CLOSE_SECONDS * 0.25)

    def _sampled(self, trace: SplitTrace) -> bool:
        read, commit = trace.periods.get("read"), trace.periods.get("commit")
        slow = read is not None and commit is not None and commit[1] - read[0] > self._settings.slow
        if slow or trace.error is not None or trace.retried:
            return True
        return int(trace.split.trace_id[16:], 16) < self._settings.sample * 2**64

    def _run(self) -> None:
        while not (self._closing.is_set() and self._queue.empty()):
            traces = list(self._gathered())
            spans = [span for trace in traces for span in self._spans.of(trace)]
            if spans:
                self._send(spans)

    def _gathered(self) -> Iterator[SplitTrace]:
        """A trace, and those that come shortly after; none if none comes."""
        with contextlib.suppress(queue.Empty):
            yield self._queue.get(timeout=_GATHER_SECONDS)
            self._closing.wait(_GATHER_SECONDS)
            for _ in range(_TOGETHER - 1):
                yield self._queue.get_nowait()

    def _send(self, spans: Sequence[ReadableSpan]) -> None:
        try:
            sent = self._exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception as error:  # whatever a transport raises, work goes on without traces
            log.debug("spans were not sent: %s", error)
            sent = False
        if not sent:
            self._dropped(len(spans))
        if sent == self._failing:
            self._failing = not sent
            told = (
                "telemetry.otlp: traces arrive again" if sent else "telemetry.otlp: traces do not arrive; work goes on"
            )
            log.warning(told)

    def _dropped(self, spans: int) -> None:
        self._metrics.add(m.SPANS_DROPPED, spans)


@contextlib.contextmanager
def tracing(
    settings: Telemetry, pipeline: str, metrics: Metrics, redact: Callable[[str], str]
) -> Iterator[Tracer | None]:
    """The tracer while the block runs; None where the settings name no receiver."""
    if settings.otlp is None:
        yield None
        return
    tracer = Tracer(settings, pipeline, metrics, redact)
    try:
        yield tracer
    finally:
        tracer.close()


class Spans(SpanProcessor):
    """Makes the spans of a trace with the SDK; used by one thread."""

    def __init__(self, pipeline: str, redact: Callable[[str], str]) -> None:
        self._redact = redact
        self._ids = _Ids()
        self._ended: list[ReadableSpan] = []
        provider = TracerProvider(
            sampler=ALWAYS_ON,  # what is not wanted does not come here
            resource=_resource(pipeline),
            id_generator=self._ids,
            span_limits=SpanLimits(max_links=ORIGINS),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(self)
        self._tracer = provider.get_tracer("stream_infer")

    def on_end(self, span: ReadableSpan) -> None:
        self._ended.append(span)

    def of(self, trace: SplitTrace) -> list[ReadableSpan]:
        """The split's span and its children."""
        split, periods = trace.split, trace.periods
        self._ids.trace_id = int(split.trace_id, 16)
        place = trace.attributes.get("messaging.destination.name", split.source)
        root = self._tracer.start_span(
            f"process {place}",
            Context(),
            SpanKind.CONSUMER if "messaging.system" in trace.attributes else SpanKind.INTERNAL,
            {**trace.attributes, **_outcome(trace)},
            [link for link in map(_link, trace.origins) if link is not None],
            start_time=_nanoseconds(min(period[0] for period in periods.values())),
        )
        within = set_span_in_context(root, Context())
        for step in STEPS:
            if step in periods:
                started, ended = periods[step]
                child = self._tracer.start_span(step, within, start_time=_nanoseconds(started))
                child.end(_nanoseconds(max(started, ended)))
        if trace.error is not None:
            root.set_status(Status(StatusCode.ERROR, self._redact(trace.error)))
        root.end(_nanoseconds(max(period[1] for period in periods.values())))
        spans, self._ended = self._ended, []
        return spans


class _Ids(IdGenerator):
    """The trace's id is the split's own; a span's is random."""

    trace_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return random.getrandbits(64) or 1


def _resource(pipeline: str) -> Resource:
    """Who sends. What ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` say goes before."""
    ours = {
        "service.name": "stream-infer",
        "service.version": version("stream-infer"),
        "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        "stream_infer.pipeline": pipeline,
    }
    return Resource.create(ours).merge(OTELResourceDetector().detect())


def _outcome(trace: SplitTrace) -> dict[str, str | int]:
    split, receipt = trace.split, trace.receipt
    found: dict[str, str | int] = {
        "stream_infer.source": split.source,
        "stream_infer.split_id": split.split_id,
        "stream_infer.attempt": split.attempt,
        _counted(trace): split.records,
    }
    if trace.more_origins:
        found["stream_infer.links.omitted"] = trace.more_origins
    if receipt is not None:
        found |= {
            "stream_infer.rows": receipt.rows,
            "stream_infer.rejected": len(receipt.rejects),
            "stream_infer.lost": sum(loss.records for loss in receipt.losses),
            "stream_infer.model": receipt.model,
            "stream_infer.file": receipt.file or "",
            _counted(trace): receipt.records,
        }
    return found


def _counted(trace: SplitTrace) -> str:
    """What the number of records is called: the conventions know messages only."""
    return "messaging.batch.message_count" if "messaging.system" in trace.attributes else "stream_infer.records"


def _link(traceparent: str) -> Link | None:
    """A link to the producer's span."""
    try:
        _, trace_id, span_id, flags = traceparent.split("-")[:4]
        context = SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16)))
    except ValueError:
        return None
    return Link(context) if context.is_valid else None


def _exporter(settings: Telemetry) -> SpanExporter:
    base = str(settings.otlp).rstrip("/")
    endpoint = base if base.endswith("/v1/traces") else f"{base}/v1/traces"
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it tells of every failure; we tell of the first
    return OTLPSpanExporter(endpoint, headers=dict(settings.headers), timeout=_SEND_SECONDS)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
