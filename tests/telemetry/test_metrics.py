"""The list of metrics keeps its own rules, and everything in it is exported from the start."""

from __future__ import annotations

import re

import pytest
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from stream_infer.splits import Loss, Receipt, Reject, Split
from stream_infer.tasks import Trail
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry import record_metrics
from stream_infer.telemetry.metric_spec import PREFIX, Metric
from stream_infer.telemetry.metrics import METRICS, Metrics


def _families(metrics: Metrics) -> dict[str, dict[tuple[str, ...], float]]:
    """Sample name -> label values -> value, parsed from what a scrape gives."""
    samples: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
        for sample in family.samples:
            samples.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return samples


def test_names_and_units_follow_the_rules() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS) > 40
    for metric in METRICS:
        assert re.fullmatch(r"[a-z][a-z0-9_]*[a-z]", metric.name), metric
        assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket")), metric
        assert metric.help.endswith("."), metric
        assert bool(metric.buckets) == (metric.kind == "histogram"), metric
        assert metric.buckets == tuple(sorted(metric.buckets)), metric
        if metric.unit in ("seconds", "bytes", "ratio"):
            assert metric.name.endswith(metric.unit), metric
        assert not {"record", "key", "split", "offset", "error", "reject"} & set(metric.label_names), metric


def test_every_metric_of_the_module_is_in_the_list() -> None:
    assert {id(metric) for metric in METRICS} == {id(each) for each in vars(m).values() if isinstance(each, Metric)}


def test_all_label_sets_that_are_known_are_there_from_the_start_at_0() -> None:
    samples = _families(Metrics(["inbox", "stream"], "MiniLM"))
    for metric in METRICS:
        open_ended = {label.name for label in metric.labels if not label.values} - {"source", "model"}
        if metric.kind == "info" or open_ended or metric.prefix != PREFIX:
            continue
        name = metric.full_name + ("_count" if metric.kind == "histogram" else "")
        expected = 1
        for label in metric.labels:
            expected *= len(label.values) or {"source": 2, "model": 1}[label.name]
        assert len(samples[name]) == expected, metric
        assert set(samples[name].values()) == {0.0}, metric


def test_the_driver_s_process_is_told_by_its_own_convention() -> None:
    samples = _families(Metrics())
    for metric in (m.PROCESS_MEMORY_BYTES, m.PROCESS_CPU_SECONDS, m.PROCESS_OPEN_FDS, m.PROCESS_MAX_FDS):
        assert metric.full_name.startswith("process_")
        assert samples[metric.full_name][()] > 0


def test_what_no_label_foresees_is_counted_as_other() -> None:
    metrics = Metrics(["s"])
    metrics.add(m.RECORDS_REJECTED, 2, "s", "infer", "SomethingOfAUser'sOwn")
    metrics.add(m.RECORDS_REJECTED, 1, "s", "infer", "ValueError")
    assert metrics.value(m.RECORDS_REJECTED, "s", "infer", "other") == 2
    assert metrics.value(m.RECORDS_REJECTED, "s", "infer", "ValueError") == 1


def test_a_committed_split_is_conserved() -> None:
    metrics = Metrics(["s"], "M")
    split = Split.of("s", {"n": 1}, folder="f", records=9, bytes=9, event_at=1.0)
    reject = Reject("r", "s", "read", "decode", "why", 1, 2.0)
    receipt = Receipt(
        *(split.split_id, "s", 1, {}), rows=5, rejects=(reject,) * 2, losses=(Loss("l", "s", "expired", 2),)
    )
    record_metrics.committed(metrics, split, receipt)
    record_metrics.rejected(metrics, "s", [reject])
    committed, received = metrics.value(m.RECORDS_COMMITTED, "s"), metrics.value(m.RECORDS_RECEIVED, "s")
    assert (committed, received) == (5, 10)
    assert metrics.value(m.RECORDS_REJECTED, "s", "read", "decode") == 3
    assert metrics.value(m.RECORDS_LOST, "s", "expired") == 2
    assert f'trace_id="{split.trace_id}"' in generate_latest(metrics.registry).decode()


@pytest.mark.parametrize(
    ("event_at", "oldest", "waited"),
    [(90.0, 30.0, 70.0), (30.0, 90.0, 70.0), (90.0, None, 10.0), (200.0, None, 0.0)],
)
def test_the_wait_of_a_split_is_that_of_its_oldest_record(event_at: float, oldest: float | None, waited: float) -> None:
    metrics = Metrics(["s"])
    split = Split.of("s", {"n": 1}, folder="f", records=9, bytes=9, event_at=event_at)
    record_metrics.committed(
        metrics, split, Receipt(split.split_id, "s", 1, {}, rows=9, written_at=100.0), Trail(oldest=oldest)
    )
    text = generate_latest(metrics.registry).decode()
    assert f'{m.END_TO_END_SECONDS.full_name}_sum{{source="s"}} {waited}' in text


def test_the_seconds_of_a_split_are_those_of_its_trail_which_knows_how_long_writing_took() -> None:
    metrics = Metrics(["s"])
    split = Split.of("s", {"n": 1}, folder="f", records=9, bytes=9)
    receipt = Receipt(split.split_id, "s", 1, {}, rows=9, seconds={"read": 1.0})
    record_metrics.committed(metrics, split, receipt, Trail(seconds={"read": 1.5, "infer:lang": 2.0, "write": 0.5}))
    text = generate_latest(metrics.registry).decode()
    for stage, seconds in (("read", 1.5), ("infer:lang", 2.0), ("write", 0.5)):
        assert f'{m.SPLIT_SECONDS.full_name}_sum{{stage="{stage}"}} {seconds}' in text


def test_a_replay_has_no_wait() -> None:
    """Its record was in time, and rejected; when somebody has it tried again says nothing of the service."""
    metrics = Metrics(["s"])
    split = Split.of("s", {"n": 1, "replay": 1}, folder="f", records=1, bytes=9)
    record_metrics.committed(
        metrics, split, Receipt(split.split_id, "s", 1, {}, rows=1, written_at=100.0), Trail(oldest=1.0)
    )
    assert f'{m.END_TO_END_SECONDS.full_name}_count{{source="s"}} 0.0' in generate_latest(metrics.registry).decode()


def test_gauges_that_are_read_are_fresh_in_each_scrape() -> None:
    metrics, times = Metrics(), iter([1.0, 2.0])
    metrics.before_scrape(lambda: metrics.set(m.LEDGER_EPOCH, next(times)))
    assert _families(metrics)[m.LEDGER_EPOCH.full_name] == {(): 1.0}
    assert _families(metrics)[m.LEDGER_EPOCH.full_name] == {(): 2.0}


def test_a_label_set_can_be_forgotten() -> None:
    metrics = Metrics()
    metrics.set(m.LAG_RECORDS, 5, "s", "t", "0")
    metrics.forget(m.LAG_RECORDS, "s", "t", "0")
    assert m.LAG_RECORDS.full_name not in _families(metrics)
