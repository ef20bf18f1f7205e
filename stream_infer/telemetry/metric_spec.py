"""How a metric is declared; `metrics.METRICS` is the list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

PREFIX: Final = "stream_infer"
Kind = Literal["counter", "gauge", "histogram", "info"]


@dataclass(frozen=True, slots=True)
class Label:
    """One label.

    Attributes:
        values: the values that are there from the start, at 0; none where they depend on the pipeline.
        open: another value is counted as itself; else as the last of the values, ``other``.
    """

    name: str
    values: tuple[str, ...] = ()
    open: bool = False


@dataclass(frozen=True, slots=True)
class Metric:
    """One declared metric.

    Attributes:
        kind: a counter's exported name ends in ``_total``, an info's in ``_info``.
        name: without prefix and ending.
        help: one sentence.
        unit: ``records``, ``bytes``, ``seconds``, …; of what is counted, for axes and docs.
        buckets: upper bounds of a histogram, in its unit.
        prefix: ours; another one for what a library exports by its own convention.
    """

    kind: Kind
    name: str
    help: str
    labels: tuple[Label, ...] = ()
    unit: str = ""
    buckets: tuple[float, ...] = ()
    prefix: str = PREFIX

    @property
    def full_name(self) -> str:
        """The name in Prometheus; of a histogram, without ``_bucket``, ``_sum`` and ``_count``."""
        ending = {"counter": "_total", "info": "_info"}.get(self.kind, "")
        return f"{self.prefix}_{self.name}{ending}"

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.labels)
