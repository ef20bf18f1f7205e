"""Samples of the metrics, and the changes between two of them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metric_spec import Metric
from stream_infer.telemetry.metrics import Metrics

WINDOW = 60.0  # seconds over which rates are computed
_SMOOTH = 5  # seconds over which a point of the history is a mean
Values = Mapping[str, Mapping[tuple[str, ...], float]]


@dataclass(frozen=True, slots=True)
class Sample:
    """The registry at one moment.

    Attributes:
        at: monotonic seconds.
        values: sample name to label values to value; a histogram by its ``_sum`` and ``_count`` alone.
    """

    at: float
    values: Values

    def of(self, metric: Metric, ending: str = "") -> Mapping[tuple[str, ...], float]:
        """The metric's values by label values."""
        return self.values.get(metric.full_name + ending, {})


def sample_now(metrics: Metrics) -> Sample:
    """Take a sample."""
    values: dict[str, dict[tuple[str, ...], float]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            if not sample.name.endswith(("_bucket", "_created")):
                values.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return Sample(time.monotonic(), values)


class Samples:
    """The samples of the last minute. Used by one thread."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()

    def add(self, sample: Sample) -> None:
        self._samples.append(sample)
        while len(self._samples) > 2 and self._samples[1].at <= sample.at - WINDOW:
            self._samples.popleft()

    def __bool__(self) -> bool:
        return bool(self._samples)

    def window(self) -> Window:
        """From the oldest sample of the last minute to the newest. Needs one sample at least."""
        return Window(self._samples[0], self._samples[-1])

    def history(self) -> list[float]:
        """Committed records per second, oldest first, a point a second."""
        times = [sample.at for sample in self._samples]
        sums = [sum(sample.of(m.RECORDS_COMMITTED).values()) for sample in self._samples]
        points = int(min(WINDOW, times[-1] - times[0]))
        ends = [times[-1] - ago for ago in range(points, -1, -1)]
        at = [_interpolated(times, sums, end) for end in ends]
        before = [_interpolated(times, sums, end - _SMOOTH) for end in ends]
        durations = [min(_SMOOTH, max(end - times[0], 1.0)) for end in ends]
        return [round((now - then) / seconds, 2) for now, then, seconds in zip(at, before, durations, strict=True)]


@dataclass(frozen=True, slots=True)
class Window:
    """The changes between two samples."""

    oldest: Sample
    newest: Sample

    @property
    def seconds(self) -> float:
        return self.newest.at - self.oldest.at

    def grown(self, metric: Metric, ending: str = "", **labels: str) -> float:
        """Growth of a counter, summed over all label sets with these values."""
        return sum(self.grown_by(metric, ending, **labels).values())

    def grown_by(self, metric: Metric, ending: str = "", **labels: str) -> dict[tuple[str, ...], float]:
        """Growth of a counter by label set."""
        before, now = self.oldest.of(metric, ending), self.newest.of(metric, ending)
        chosen = _matching(metric, now, labels)
        return {values: max(0.0, now[values] - before.get(values, 0.0)) for values in chosen}

    def rate(self, metric: Metric, **labels: str) -> float:
        """Growth per second."""
        return self.grown(metric, **labels) / self.seconds if self.seconds > 0 else 0.0

    def mean(self, histogram: Metric, **labels: str) -> float | None:
        """Mean of a histogram's observations; None if there was none."""
        count = self.grown(histogram, "_count", **labels)
        return self.grown(histogram, "_sum", **labels) / count if count else None

    def now(self, metric: Metric, **labels: str) -> float:
        """A gauge's value, summed over all label sets with these values."""
        samples = self.newest.of(metric)
        return sum(samples[values] for values in _matching(metric, samples, labels))


def _matching(
    metric: Metric, samples: Mapping[tuple[str, ...], float], labels: Mapping[str, str]
) -> list[tuple[str, ...]]:
    wanted = [(metric.label_names.index(name), value) for name, value in labels.items()]
    return [values for values in samples if all(values[index] == value for index, value in wanted)]


def _interpolated(times: Sequence[float], values: Sequence[float], at: float) -> float:
    """The value at a time, linear between two points; before the first and after the last, the value of that point."""
    if at <= times[0]:
        return values[0]
    for index in range(len(times) - 1, 0, -1):
        if times[index - 1] <= at:
            duration = times[index] - times[index - 1]
            share = min(1.0, (at - times[index - 1]) / duration) if duration > 0 else 1.0
            return values[index - 1] + share * (values[index] - values[index - 1])
    return values[0]
