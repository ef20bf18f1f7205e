"""PromQL from the one list of metrics: an unknown metric, label or label value is an error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client.utils import floatToGoString

from stream_infer.telemetry.metric_spec import Metric

Part = Literal["", "bucket", "sum", "count"]
# labels that the scraper adds to every series
TARGET: Final = ("job", "instance")


@dataclass(frozen=True, slots=True)
class Scope:
    """The series and the time range of expressions.

    Attributes:
        matchers: matchers in every selector.
        window: range of a rate.
    """

    matchers: str
    window: str

    def of(self, metric: Metric, part: Part = "", /, **labels: str) -> str:
        """The selector of a metric; a label's value with ``$``, ``|`` or ``.+`` is a regular expression."""
        if (metric.kind == "histogram") != bool(part):
            raise ValueError(
                f"{metric.full_name}: name the part bucket, sum or count of a histogram, and no part of another metric"
            )
        for name, value in labels.items():
            _check_label(metric, name, value)
        own = (f'{name}{"=~" if _is_pattern(value) else "="}"{value}"' for name, value in labels.items())
        matchers = ", ".join(filter(None, (self.matchers, *own)))
        name = f"{metric.full_name}_{part}" if part else metric.full_name
        return f"{name}{{{matchers}}}" if matchers else name

    def rate(self, metric: Metric, *by: str, part: Part = "", **labels: str) -> str:
        """Growth in a second, summed by labels."""
        return total(metric, f"rate({self.of(metric, part, **labels)}[{self.window}])", *by)

    def increase(self, metric: Metric, *by: str, over: str, part: Part = "", **labels: str) -> str:
        """Growth over a range, summed by labels."""
        return total(metric, f"increase({self.of(metric, part, **labels)}[{over}])", *by)

    def quantile(self, metric: Metric, q: float, *by: str, **labels: str) -> str:
        """A quantile of a histogram."""
        rates = total(metric, f"rate({self.of(metric, 'bucket', **labels)}[{self.window}])", *by, "le")
        return f"histogram_quantile({q:g}, {rates})"

    def age(self, metric: Metric, *by: str) -> str:
        """Seconds since a gauge's time, the greatest by labels; 0 where it is 0."""
        at = self.of(metric)
        return total(metric, f"(time() - {at}) * ({at} > bool 0)", *by, how="max")

    def within(self, metric: Metric, bound: float, *by: str, over: str = "") -> str:
        """Share of a histogram's observations up to a bound, which must be one of its buckets."""
        if bound not in metric.buckets:
            raise ValueError(f"{metric.full_name}: {bound:g} is none of its buckets")
        window = f"[{over or self.window}]"
        good, call = self.of(metric, "bucket", le=floatToGoString(bound)), "increase" if over else "rate"
        every = self.of(metric, "count")
        return f"{total(metric, f'{call}({good}{window})', *by)} / {total(metric, f'{call}({every}{window})', *by)}"


def total(metric: Metric, expression: str, *by: str, how: str = "sum") -> str:
    """An expression of one metric aggregated; its labels must be the metric's own or the scraper's."""
    for name in by:
        if name not in (*metric.label_names, *TARGET, "le"):
            raise ValueError(f"{metric.full_name} has no label {name}")
    return f"{how} by ({', '.join(by)}) ({expression})" if by else f"{how}({expression})"


def _check_label(metric: Metric, name: str, value: str) -> None:
    values_by_label = {label.name: label.values for label in metric.labels} | dict.fromkeys(TARGET, ())
    if metric.kind == "histogram":
        values_by_label["le"] = tuple(map(floatToGoString, metric.buckets))
    if name not in values_by_label:
        raise ValueError(f"{metric.full_name} has no label {name}")
    values = values_by_label[name]
    if values and "$" not in value and not set(value.split("|")) <= set(values):
        raise ValueError(f"{metric.full_name}: {name} is never {value}")


def _is_pattern(value: str) -> bool:
    return any(sign in value for sign in ("$", "|", ".+"))


DASHBOARD: Final = Scope('job=~"$job", instance=~"$instance"', "$__rate_interval")
