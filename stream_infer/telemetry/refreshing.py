"""A collector that brings gauges up to date before each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector


class Refreshing(Collector):
    """Calls the functions that set gauges; has no metric of its own."""

    def __init__(self, calls: Sequence[Callable[[], None]]) -> None:
        self._calls = calls

    def collect(self) -> Iterator[Metric]:
        for call in tuple(self._calls):
            call()
        return iter(())
