#!/usr/bin/env bash
# OpenTelemetry: a full BatchSpanProcessor loses its oldest spans, under one log line that says it drops the new ones.
#
# Version:  opentelemetry-sdk 1.45.2
# Expected: a span that ends while the queue is full is dropped, as the log line "Queue full, dropping Span." says, and the queued
#           ones are sent. The number of lost spans can be read somewhere.
# Seen:     the new span is queued and the oldest queued one is thrown away, so a burst leaves only its end. The log line appears
#           once for many lost spans, and force_flush() returns True. (A count exists only as one of the SDK's own metrics, off by
#           default: OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED.)
# Here:     stream_infer/telemetry/tracing.py reserves the queue before it records, and counts what does not fit.
#
# Exit: 0 while it is so, 1 when it has changed. Another version: VERSION=1.46.0 before it.
set -euo pipefail

VERSION="${VERSION:-1.45.2}"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT

"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "opentelemetry-sdk==$VERSION"

"$folder/venv/bin/python" - <<'PYTHON'
import logging
import threading
from importlib.metadata import version

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

QUEUE, BURST = 8, 20


class SlowReceiver(SpanExporter):
    """Keeps the first span until it is allowed on; by then the queue has filled."""

    def __init__(self):
        self.names = []
        self.busy = threading.Event()
        self.allowed = threading.Event()

    def export(self, spans):
        self.busy.set()
        self.allowed.wait()
        self.names += [span.name for span in spans]
        return SpanExportResult.SUCCESS


class Lines(logging.Handler):
    """Keeps the messages that are logged."""

    def __init__(self):
        super().__init__()
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


lines = Lines()
logging.getLogger().addHandler(lines)
receiver = SlowReceiver()
processor = BatchSpanProcessor(receiver, max_queue_size=QUEUE, max_export_batch_size=1)
provider = TracerProvider()
provider.add_span_processor(processor)
tracer = provider.get_tracer("finding")

tracer.start_span("first").end()
receiver.busy.wait()  # the first span is out of the queue
for number in range(1, BURST + 1):
    tracer.start_span(str(number)).end()
receiver.allowed.set()
flushed = processor.force_flush()
provider.shutdown()

arrived = [int(name) for name in receiver.names if name != "first"]
lost = BURST - len(arrived)
print(f"opentelemetry-sdk {version('opentelemetry-sdk')}: {BURST} spans end while a queue of {QUEUE} is not emptied")
print(f"  expected: spans {list(range(1, QUEUE + 1))} arrive, {BURST - QUEUE} drops can be counted")
print(f"  seen: spans {arrived} arrive, {lost} are lost, force_flush() returns {flushed}")
print(f"  seen, log lines: {lines.messages}")

newest = list(range(BURST - QUEUE + 1, BURST + 1))
drop_lines = [message for message in lines.messages if message == "Queue full, dropping Span."]
as_described = arrived == newest and flushed is True and 1 <= len(drop_lines) < lost
print("AS DESCRIBED" if as_described else "CHANGED")
raise SystemExit(0 if as_described else 1)
PYTHON
