"""Rates, means and the history, from samples of a real registry."""

from __future__ import annotations

import pytest

from stream_infer.ops.watch.samples import Sample, Samples, sample_now
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metrics import Metrics


def _at(metrics: Metrics, at: float) -> Sample:
    return Sample(at, sample_now(metrics).values)


def test_growth_is_counted_by_label_and_per_second() -> None:
    metrics, samples = Metrics(["a", "b"], "model"), Samples()
    metrics.add(m.RECORDS_COMMITTED, 1000, "a")
    samples.add(_at(metrics, 0.0))
    metrics.add(m.RECORDS_COMMITTED, 300, "a")
    metrics.add(m.RECORDS_COMMITTED, 100, "b")
    metrics.add(m.RECORDS_REJECTED, 3, "b", "read", "decode")
    samples.add(_at(metrics, 20.0))
    window = samples.window()
    assert window.rate(m.RECORDS_COMMITTED) == 20.0
    assert window.rate(m.RECORDS_COMMITTED, source="b") == 5.0
    assert {key: value for key, value in window.grown_by(m.RECORDS_REJECTED).items() if value} == {
        ("b", "read", "decode"): 3.0
    }


def test_a_window_of_one_sample_has_no_rate_and_no_mean() -> None:
    samples = Samples()
    samples.add(sample_now(Metrics(["a"], "model")))
    assert samples.window().rate(m.RECORDS_COMMITTED) == 0.0
    assert samples.window().mean(m.LEDGER_COMMIT_SECONDS) is None
    assert samples.history() == [0.0]


def test_a_mean_is_that_of_the_window_alone() -> None:
    metrics, samples = Metrics(["a"], "model"), Samples()
    metrics.observe(m.LEDGER_COMMIT_SECONDS, 100.0)
    samples.add(_at(metrics, 0.0))
    metrics.observe(m.LEDGER_COMMIT_SECONDS, 1.0)
    metrics.observe(m.LEDGER_COMMIT_SECONDS, 3.0)
    samples.add(_at(metrics, 1.0))
    assert samples.window().mean(m.LEDGER_COMMIT_SECONDS) == 2.0


def test_what_is_older_than_a_minute_is_forgotten_and_the_window_stays_whole() -> None:
    metrics, samples = Metrics(["a"], "model"), Samples()
    for second in range(0, 300, 5):
        metrics.add(m.RECORDS_COMMITTED, 50, "a")
        samples.add(_at(metrics, float(second)))
    assert samples.window().seconds == 60.0
    assert samples.window().rate(m.RECORDS_COMMITTED) == 10.0


def test_the_history_has_a_point_a_second_whatever_the_samples_distance() -> None:
    metrics, samples = Metrics(["a"], "model"), Samples()
    for at in (0.0, 5.0, 6.0, 7.0, 12.0):
        samples.add(_at(metrics, at))
        metrics.add(m.RECORDS_COMMITTED, 100, "a")
    history = samples.history()
    assert len(history) == 13
    assert sum(history[-1:]) == pytest.approx(20.0)  # 100 records between second 7 and 12
