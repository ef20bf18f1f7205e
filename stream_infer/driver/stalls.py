"""What workers wait for and die of: a failing store or broker is met by them, where nobody reads, and told here."""

from __future__ import annotations

import logging
from collections import Counter

from stream_infer.driver.admission import Backlog
from stream_infer.execution.execution import RayExecution
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metrics import Metrics

log = logging.getLogger(__name__)
_CAUSES = {"died": "crashed", "hung": "hung", "memory": "no memory left on their node"}


class Waits:
    """For one thread.

    Attributes:
        told: what is waited for at the moment, each sentence once.
    """

    def __init__(self, metrics: Metrics, backlog: Backlog) -> None:
        self.told: tuple[str, ...] = ()
        self._metrics = metrics
        self._backlog = backlog
        self._failures: Counter[tuple[str, str]] = Counter()
        self._deaths: Counter[tuple[str, str]] = Counter()

    def look(self, execution: RayExecution | None) -> None:
        """Count the failures and deaths since the last look, and log what was not waited for then."""
        waits = execution.waiting() if execution is not None else {}
        failures = Counter(execution.failures if execution is not None else {})
        for (step, dependency), count in (failures - self._failures).items():
            self._metrics.add(m.DEPENDENCY_ERRORS, count, step, dependency)
        self._failures = failures
        deaths = Counter(execution.deaths if execution is not None else {})
        for (step, cause), count in (deaths - self._deaths).items():
            self._metrics.add(m.WORKER_DEATHS, count, step, cause)
            log.warning("workers ended in %s (%s): %d; what they had is tried again", step, _CAUSES[cause], count)
        self._deaths = deaths
        self._log({why: split_id for split_id, why in waits.items() if why not in self.told})
        self.told = tuple(sorted(set(waits.values())))

    def _log(self, fresh: dict[str, str]) -> None:
        if not fresh:
            return
        splits = {split.split_id: split for split in self._backlog.snapshot()[1]}
        for why, split_id in fresh.items():
            about = splits[split_id].fields() if split_id in splits else {"split": split_id}
            log.warning("a worker waits: %s", why, extra=about)
