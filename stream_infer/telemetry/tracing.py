"""Traces: one a split, made when it is settled from the times that its workers brought along.

Workers know nothing of OpenTelemetry. The driver makes the spans of a settled split and puts them on the bounded queue of the
SDK's batch processor, whose thread sends them. A receiver that is down costs spans, which are counted, and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, set_span_in_context

from stream_infer.config import Telemetry
from stream_infer.contracts import ORIGINS
from stream_infer.splits import Receipt, Split
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metrics import Metrics

log = logging.getLogger(__name__)
_QUEUED_SPANS = 4096  # 512 traces of eight spans: as far as a slow receiver may be behind
_SENT_SPANS = 512  # in one request
_GATHER_SECONDS = 0.5
_SEND_SECONDS = 2.0
_CLOSE_SECONDS = 2.0
Period = Sequence[float]


@dataclass(frozen=True, slots=True)
class SplitTrace:
    """The trace of a settled split, before it is made into spans.

    Attributes:
        periods: start and end of ``plan``, ``queue``, the stages in order and ``commit``, in seconds since the epoch.
        attributes: the split's input, named by OpenTelemetry's semantic conventions (`contracts.Source.attributes`).
        origins: ``traceparent`` of its records' producers.
        more_origins: number of producers that are counted only.
        error: why the split failed, in one sentence.
        retried: whether it took more than one try.
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
    """Sends the traces of one pipeline. `settled` may be called from any thread and never waits for the receiver.

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
        self._exporter = CountingExporter(exporter or _otlp_exporter(settings), metrics)
        self._processor = BatchSpanProcessor(
            self._exporter,
            max_queue_size=_QUEUED_SPANS,
            schedule_delay_millis=1000 * _GATHER_SECONDS,
            max_export_batch_size=_SENT_SPANS,
        )
        self._recorder = SpanRecorder(pipeline, redact, self._processor)

    def settled(self, trace: SplitTrace) -> None:
        """Record the trace of a settled split if it is sampled. A trace that finds the queue full is dropped and counted."""
        if self._sampled(trace) and self._exporter.reserve(len(trace.periods) + 1):
            self._recorder.record(trace)

    def close(self) -> None:
        """Send the queued spans, for two seconds at most; the rest is dropped and counted.

        The processor's own `shutdown` waits up to thirty seconds for a receiver that is down, and its `force_flush` as long
        as the receiver likes. So it ends in a thread of its own, and the exporter is closed under it.
        """
        ending = threading.Thread(target=self._processor.shutdown, name="traces-end", daemon=True)
        ending.start()
        ending.join(_CLOSE_SECONDS * 0.75)
        self._exporter.shutdown()
        ending.join(_CLOSE_SECONDS * 0.25)

    def _sampled(self, trace: SplitTrace) -> bool:
        read, commit = trace.periods.get("read"), trace.periods.get("commit")
        slow = read is not None and commit is not None and commit[1] - read[0] > self._settings.slow
        if slow or trace.error is not None or trace.retried:
            return True
        return int(trace.split.trace_id[16:], 16) < self._settings.sample * 2**64


class CountingExporter(SpanExporter):
    """An exporter that counts the spans that do not arrive, and logs when the receiver goes away and comes back.

    The SDK's processor drops the oldest span of a full queue with one line in the log, uncounted. So each span is reserved
    here before it is recorded, and no more are reserved than the queue holds.
    """

    def __init__(self, exporter: SpanExporter, metrics: Metrics) -> None:
        self._exporter = exporter
        self._metrics = metrics
        self._lock = threading.Lock()
        self._queued = 0
        self._failing = False

    def reserve(self, spans: int) -> bool:
        """Reserve room in the queue for the spans of one trace; False, and they count as dropped, where it is full."""
        with self._lock:
            if self._queued + spans <= _QUEUED_SPANS:
                self._queued += spans
                return True
        self._metrics.add(m.SPANS_DROPPED, spans)
        return False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter.export`. Called by the processor's one thread."""
        with self._lock:
            self._queued -= len(spans)
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # whatever a transport raises, work goes on without traces
            log.debug("spans were not sent: %s", error)
            result = SpanExportResult.FAILURE
        failed = result is not SpanExportResult.SUCCESS
        if failed:
            self._metrics.add(m.SPANS_DROPPED, len(spans))
        if failed != self._failing:
            self._failing = failed
            change = "traces do not arrive; work goes on" if failed else "traces arrive again"
            log.warning("telemetry.otlp: %s", change)
        return result

    def shutdown(self) -> None:
        """Close the connection; what is exported afterwards fails at once."""
        self._exporter.shutdown()


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


class SpanRecorder:
    """Makes the spans of a trace with the SDK and hands them to a processor. Thread-safe."""

    def __init__(self, pipeline: str, redact: Callable[[str], str], processor: SpanProcessor) -> None:
        self._redact = redact
        self._ids = _Ids()
        self._lock = threading.Lock()
        provider = TracerProvider(
            sampler=ALWAYS_ON,  # the tracer has sampled already
            resource=_resource(pipeline),
            id_generator=self._ids,
            span_limits=SpanLimits(max_links=ORIGINS),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(processor)
        self._tracer = provider.get_tracer("stream_infer")

    def record(self, trace: SplitTrace) -> None:
        """Record the split's span and its children, all of them ended."""
        periods = trace.periods
        root = self._root(trace)
        context = set_span_in_context(root, Context())
        for stage, (started, ended) in periods.items():
            child = self._tracer.start_span(stage, context, start_time=_nanoseconds(started))
            child.end(_nanoseconds(max(started, ended)))
        if trace.error is not None:
            root.set_status(Status(StatusCode.ERROR, self._redact(trace.error)))
        root.end(_nanoseconds(max(period[1] for period in periods.values())))

    def _root(self, trace: SplitTrace) -> Span:
        destination = trace.attributes.get("messaging.destination.name", trace.split.source)
        with self._lock:  # the SDK asks the generator for the id of a trace without saying of which
            self._ids.trace_id = int(trace.split.trace_id, 16)
            return self._tracer.start_span(
                f"process {destination}",
                Context(),
                SpanKind.CONSUMER if "messaging.system" in trace.attributes else SpanKind.INTERNAL,
                {**trace.attributes, **_outcome(trace)},
                [link for link in map(_link, trace.origins) if link is not None],
                start_time=_nanoseconds(min(period[0] for period in trace.periods.values())),
            )


class _Ids(IdGenerator):
    """The trace's id is the split's own; a span's is random."""

    trace_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return random.getrandbits(64) or 1


def _resource(pipeline: str) -> Resource:
    """The sender. ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` take precedence."""
    ours = {
        "service.name": "stream-infer",
        "service.version": version("stream-infer"),
        "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        "stream_infer.pipeline": pipeline,
    }
    return Resource.create(ours).merge(OTELResourceDetector().detect())


def _outcome(trace: SplitTrace) -> dict[str, str | int]:
    split, receipt = trace.split, trace.receipt
    attributes: dict[str, str | int] = {
        "stream_infer.source": split.source,
        "stream_infer.split_id": split.split_id,
        "stream_infer.attempt": split.attempt,
        _counted(trace): split.records,
    }
    if trace.more_origins:
        attributes["stream_infer.links.omitted"] = trace.more_origins
    if receipt is not None:
        attributes |= {
            "stream_infer.rows": receipt.rows,
            "stream_infer.rejected": len(receipt.rejects),
            "stream_infer.lost": sum(loss.records for loss in receipt.losses),
            "stream_infer.model": receipt.model,
            "stream_infer.file": receipt.file or "",
            _counted(trace): receipt.records,
        }
    return attributes


def _counted(trace: SplitTrace) -> str:
    """The attribute that holds the number of records: the conventions name one for messages only."""
    return "messaging.batch.message_count" if "messaging.system" in trace.attributes else "stream_infer.records"


def _link(traceparent: str) -> Link | None:
    """A link to the producer's span; None where its traceparent is malformed."""
    try:
        _, trace_id, span_id, flags = traceparent.split("-")[:4]
        context = SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16)))
    except ValueError:
        return None
    return Link(context) if context.is_valid else None


def _otlp_exporter(settings: Telemetry) -> SpanExporter:
    base = str(settings.otlp).rstrip("/")
    endpoint = base if base.endswith("/v1/traces") else f"{base}/v1/traces"
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # the SDK logs every failure, we log the first one
    return OTLPSpanExporter(endpoint, headers=dict(settings.headers), timeout=_SEND_SECONDS)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
