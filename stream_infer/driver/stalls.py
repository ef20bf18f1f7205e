"""Stalls and deaths of workers: counted in metrics and logged by the driver."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping

from stream_infer.driver.admission import Backlog
from stream_infer.execution_seam import Execution, ExecutionReport
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metrics import Metrics

log = logging.getLogger(__name__)
_CAUSES = {"died": "crashed", "hung": "hung", "memory": "no memory left on their node"}


class Stalls:
    """What the workers of the current execution wait for. For one thread.

    Attributes:
        reasons: the dependency failures that are waited out now, each once.
    """

    def __init__(self, metrics: Metrics, backlog: Backlog) -> None:
        self.reasons: tuple[str, ...] = ()
        self._metrics = metrics
        self._backlog = backlog
        self._failures: Counter[tuple[str, str]] = Counter()
        self._deaths: Counter[tuple[str, str]] = Counter()

    def update(self, execution: Execution | None) -> None:
        """Read the report of the execution: count new failures and deaths, log new stalls and deaths."""
        report = execution.report() if execution is not None else ExecutionReport()
        failures, deaths = Counter(report.failures), Counter(report.deaths)
        for (stage, dependency), count in (failures - self._failures).items():
            self._metrics.add(m.DEPENDENCY_ERRORS, count, stage, dependency)
        for (stage, cause), count in (deaths - self._deaths).items():
            self._metrics.add(m.WORKER_DEATHS, count, stage, cause)
            log.warning("workers ended in %s (%s): %d; their splits are tried again", stage, _CAUSES[cause], count)
        self._failures, self._deaths = failures, deaths
        self._log({reason: split_id for split_id, reason in report.stalled.items() if reason not in self.reasons})
        self.reasons = tuple(sorted(set(report.stalled.values())))

    def _log(self, split_ids: Mapping[str, str]) -> None:
        """Log stalls, given one split id by reason."""
        if not split_ids:
            return
        in_flight = {split.split_id: split for split in self._backlog.snapshot()[1]}
        for reason, split_id in split_ids.items():
            fields = in_flight[split_id].fields() if split_id in in_flight else {"split": split_id}
            log.warning("a worker waits: %s", reason, extra=fields)
