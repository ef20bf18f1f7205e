"""Spans arrive at a real receiver as they were, and a receiver that is down costs nothing but spans."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from stream_infer.config import Telemetry
from stream_infer.contracts import ORIGINS
from stream_infer.driver.traces import trace_of
from stream_infer.splits import Receipt, Reject, Split
from stream_infer.tasks import Done, Outcome, Poisoned, Task, Trail
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metrics import Metrics
from stream_infer.telemetry.tracing import SplitTrace, Tracer
from tests.telemetry.otlp_kit import Receiver

KAFKA: dict[str, str | int] = {
    "messaging.system": "kafka",
    "messaging.destination.name": "texts",
    "messaging.kafka.offset": 7,
}
ORIGIN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as started:
        yield started


def _outcome(number: int = 1, reject: Reject | None = None, **values: object) -> Outcome:
    split = Split.of("s", {"n": number}, folder="f", records=10, bytes=10, planned_at=100.0, attempt=1)
    timestamps = {"sent": (101.0, 101.0), "fetch": (102.0, 104.0), "prepare": (104.0, 105.0), "read": (102.0, 105.0)}
    timestamps |= {"infer": (106.0, 107.0), "write": (108.0, 109.0)}
    task = Task(split, trail=Trail(timestamps=timestamps, **values))  # type: ignore[arg-type]
    return Done(task) if reject is None else Poisoned(task, reject)


def _trace(outcome: Outcome, rows: int = 10) -> SplitTrace:
    receipt = Receipt(outcome.task.split.split_id, "s", 1, {}, file="f/x.parquet", rows=rows, model="M@1")
    return trace_of(outcome, KAFKA, (110.0, 111.0), receipt)


def test_a_split_is_a_span_with_a_child_for_each_stage_and_links_to_its_producers(receiver: Receiver) -> None:
    tracer = Tracer(Telemetry(otlp=receiver.url, headers={"authorization": "Bearer t"}), "tickets", Metrics())
    outcome = _outcome(origins=(ORIGIN, "nonsense"), more_origins=3)
    tracer.settled(_trace(outcome))
    tracer.close()
    spans = receiver.spans()
    root = next(span for span in spans if not span.parent_span_id)
    children = [span for span in spans if span.parent_span_id == root.span_id]
    assert [child.name for child in children] == ["plan", "queue", "read", "prepare", "infer", "write", "commit"]
    assert {span.trace_id.hex() for span in spans} == {outcome.task.split.trace_id}
    times = [(span.start_time_unix_nano / 1e9, span.end_time_unix_nano / 1e9) for span in (root, *children)]
    assert times == [(100, 111), (100, 101), (101, 102), (102, 104), (104, 105), (106, 107), (108, 109), (110, 111)]
    attributes = receiver.attributes(root)
    assert attributes.items() >= KAFKA.items()
    assert attributes["stream_infer.rows"] == attributes["messaging.batch.message_count"] == 10
    assert attributes["stream_infer.links.omitted"] == 3
    assert (root.name, root.kind) == ("process texts", 5)  # CONSUMER
    assert [(link.trace_id.hex(), link.span_id.hex()) for link in root.links] == [(ORIGIN[3:35], ORIGIN[36:52])]
    assert receiver.headers[0]["authorization"] == "Bearer t"


def test_spans_name_their_sender_and_the_environment_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    for named, name in ((None, "stream-infer"), ("tickets-in-berlin", "tickets-in-berlin")):
        if named:
            monkeypatch.setenv("OTEL_SERVICE_NAME", named)
        exporter = _Kept()
        tracer = Tracer(Telemetry(), "tickets", Metrics(), exporter=exporter)
        tracer.settled(_trace(_outcome()))
        tracer.close()
        sender = exporter.spans[0].resource.attributes
        assert sender["service.name"] == name
        assert sender["stream_infer.pipeline"] == "tickets"
        assert sender["service.version"]
        assert str(sender["service.instance.id"]).endswith(f":{os.getpid()}")


def test_objects_are_no_messages(receiver: Receiver) -> None:
    tracer = Tracer(Telemetry(otlp=receiver.url), "p", Metrics())
    tracer.settled(trace_of(_outcome(), {"aws.s3.bucket": "in"}, (110.0, 111.0)))
    tracer.close()
    (root,) = [span for span in receiver.spans() if not span.parent_span_id]
    attributes = receiver.attributes(root)
    assert attributes["stream_infer.records"] == 10
    assert not [name for name in attributes if name.startswith("messaging.")]
    assert (root.name, root.kind) == ("process s", 1)  # INTERNAL


def test_more_links_than_the_sdk_keeps_by_itself(receiver: Receiver) -> None:
    tracer = Tracer(Telemetry(otlp=receiver.url), "p", Metrics())
    tracer.settled(_trace(_outcome(origins=[f"00-{n + 1:032x}-{n + 1:016x}-01" for n in range(ORIGINS)])))
    tracer.close()
    assert max(len(span.links) for span in receiver.spans()) == ORIGINS


def test_a_failed_split_says_why_and_shows_no_secret(receiver: Receiver) -> None:
    why = Reject("", "s", "infer", "WorkerDied", "died with hunter2", 1, 1.0)
    settings = Telemetry(otlp=receiver.url, sample=0)
    tracer = Tracer(settings, "p", Metrics(), lambda text: text.replace("hunter2", "***"))
    tracer.settled(trace_of(_outcome(reject=why), KAFKA, (110.0, 111.0)))
    tracer.close()
    (root,) = [span for span in receiver.spans() if not span.parent_span_id]
    assert (root.status.code, root.status.message) == (2, "WorkerDied in infer: died with ***")


def test_a_share_is_sampled_and_what_was_slow_or_tried_again_always_is() -> None:
    exporter = _Kept()
    tracer = Tracer(Telemetry(sample=0.25, slow=9), "p", Metrics(), exporter=exporter)
    for number in range(200):
        tracer.settled(_trace(_outcome(number)))
    tracer.close()
    kept = {span.context.trace_id for span in exporter.spans if span.context}
    assert 20 < len(kept) < 80
    cases: list[tuple[dict[str, Any], int]] = [({}, 0), ({"deaths": 1}, 8), ({"retries": 1}, 8)]
    for values, sent in cases:
        exporter = _Kept()
        tracer = Tracer(Telemetry(sample=0, slow=9), "p", Metrics(), exporter=exporter)
        tracer.settled(_trace(_outcome(**values)))
        tracer.close()
        assert len(exporter.spans) == sent
    exporter = _Kept()
    tracer = Tracer(Telemetry(sample=0, slow=8), "p", Metrics(), exporter=exporter)
    tracer.settled(_trace(_outcome()))
    tracer.close()
    assert len(exporter.spans) == 8


def test_a_receiver_that_is_down_costs_spans_which_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    tracer = Tracer(Telemetry(otlp="http://127.0.0.1:9"), "p", metrics)
    tracer.settled(_trace(_outcome()))
    _until(lambda: metrics.value(m.SPANS_DROPPED) == 8)
    tracer.settled(_trace(_outcome()))
    tracer.close()
    assert metrics.value(m.SPANS_DROPPED) == 16
    assert _logged(caplog) == ["telemetry.otlp: traces do not arrive; work goes on"]


def test_a_receiver_that_comes_back_gets_what_is_recorded_from_then_on(caplog: pytest.LogCaptureFixture) -> None:
    metrics, exporter = Metrics(), _Failing()
    tracer = Tracer(Telemetry(), "p", metrics, exporter=exporter)
    tracer.settled(_trace(_outcome(1)))
    _until(lambda: metrics.value(m.SPANS_DROPPED) == 8)
    exporter.failing = False
    tracer.settled(_trace(_outcome(2)))
    tracer.close()
    assert len(exporter.spans) == metrics.value(m.SPANS_DROPPED) == 8
    assert _logged(caplog) == [
        "telemetry.otlp: traces do not arrive; work goes on",
        "telemetry.otlp: traces arrive again",
    ]


@pytest.mark.timeout(25)  # the SDK alone would wait thirty seconds at the end
def test_a_receiver_that_hangs_blocks_neither_work_nor_the_end_and_every_span_is_counted() -> None:
    metrics, exporter = Metrics(), _Hanging()
    tracer = Tracer(Telemetry(), "p", metrics, exporter=exporter)
    tracer.settled(_trace(_outcome()))
    assert exporter.entered.wait(30)
    for number in range(2000):
        tracer.settled(_trace(_outcome(number)))
    assert metrics.value(m.SPANS_DROPPED) == (2000 - 512) * 8
    tracer.close()  # returns although the export has not
    assert not exporter.released.is_set()
    exporter.released.set()
    _until(lambda: metrics.value(m.SPANS_DROPPED) == (2000 + 1) * 8)


def test_threads_record_traces_side_by_side_and_each_span_keeps_its_trace() -> None:
    exporter = _Kept()
    tracer = Tracer(Telemetry(), "p", Metrics(), exporter=exporter)
    outcomes = [_outcome(number) for number in range(400)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(tracer.settled, map(_trace, outcomes)))
    tracer.close()
    roots = [span for span in exporter.spans if span.parent is None and span.context]
    assert {f"{span.context.trace_id:032x}" for span in roots} == {outcome.task.split.trace_id for outcome in outcomes}
    of_each = Counter(span.context.trace_id for span in exporter.spans if span.context)
    assert set(of_each.values()) == {8}


class _Kept(SpanExporter):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += spans
        return SpanExportResult.SUCCESS


class _Failing(_Kept):
    failing = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.FAILURE if self.failing else super().export(spans)


class _Hanging(SpanExporter):
    def __init__(self) -> None:
        self.entered, self.released = threading.Event(), threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.entered.set()
        self.released.wait()
        return SpanExportResult.FAILURE


def _logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in (record.getMessage() for record in caplog.records) if "telemetry.otlp" in text]


def _until(condition: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)
