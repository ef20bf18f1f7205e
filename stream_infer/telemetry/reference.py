"""The page of all metrics: ``python -m stream_infer.telemetry.reference > docs/metrics.md``."""

from __future__ import annotations

import sys

from stream_infer.telemetry.metric_spec import Label, Metric
from stream_infer.telemetry.metrics import METRICS

_HEAD = """# Metrics

At `/metrics` of `serve`, in the text format of Prometheus, or as OpenMetrics with exemplars (a `trace_id` on the
histograms of waiting) for a scraper that asks for it. Only the driver's process exports metrics; workers send their values
with the outcomes of their splits. Every label set with values that are known in advance exists from the start, at 0. `process_…`
are the standard metrics of a Prometheus client about its process, here the driver's. Ray exports metrics of its own: see [Ray's documentation](https://docs.ray.io/en/latest/cluster/metrics.html).

This page is made from `stream_infer/telemetry/metrics.py` by `python -m stream_infer.telemetry.reference`.

The time of a stage: an actor is busy while it works on a split, and also while it waits for a store or broker that fails. The time
between two splits has two parts: the part after the next split was ready for the actor is backpressured, the rest is idle. The
three rates of a stage add up to its number of actors. In a fused pool the three stages share one actor, and so its idle time.
"""
_KINDS = {"counter": "Counters", "histogram": "Histograms", "gauge": "Gauges", "info": "Infos"}


def markdown() -> str:
    """The whole page."""
    parts = [_HEAD]
    for kind, title in _KINDS.items():
        parts.append(f"## {title}\n\n| name | labels | unit | meaning |\n| --- | --- | --- | --- |")
        parts.append("\n".join(_row(metric) for metric in METRICS if metric.kind == kind) + "\n")
    return "\n".join(parts)


def _row(metric: Metric) -> str:
    labels = "; ".join(map(_label, metric.labels))
    buckets = f" Buckets: {', '.join(f'{bound:g}' for bound in metric.buckets)}." if metric.buckets else ""
    return f"| `{metric.full_name}` | {labels} | {metric.unit} | {metric.help}{buckets} |"


def _label(label: Label) -> str:
    return f"`{label.name}`: {', '.join(label.values)}" if label.values else f"`{label.name}`"


if __name__ == "__main__":
    sys.stdout.write(markdown())
