"""Alerts. The summary names the problem; the alert's section of docs/runbook.md says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from grafana.queries import TARGET, total
from grafana.records import BALANCE, LATE, LEDGER, NOW, REJECTED, SOURCE
from grafana.slo import FRESH_SECONDS, OBJECTIVE
from stream_infer.telemetry import metrics as m

# Google's SRE workbook, chapter 5: multiples of the budget's rate, over a long and a short window
_PAGE: Final = ((14.4, "1h", "5m"), (6.0, "6h", "30m"))
_TICKET: Final = ((3.0, "1d", "2h"), (1.0, "3d", "6h"))
_LEDGER_SECONDS: Final = 1.0
_REJECTED_SHARE: Final = 0.01
_DEATHS: Final = 10  # more than it takes to find one record that kills
_WHO: Final = "{{ $labels.source }} of {{ $labels.instance }}"
_WHERE: Final = "{{ $labels.source }} {{ $labels.topic }}/{{ $labels.partition }} of {{ $labels.instance }}"


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert.

    Attributes:
        lasts: how long the expression must be true.
        severity: ``critical`` pages a person; ``warning`` can wait until the morning.
        summary: template of Prometheus.
        description: template of Prometheus.
        needs: the fault without which the expression returns nothing.
    """

    name: str
    expr: str
    lasts: str
    severity: Literal["critical", "warning"]
    summary: str
    description: str
    needs: str

    def rule(self, runbook: str) -> dict[str, Any]:
        """The alert in the form of the rules file."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.lasts,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{runbook}#{self.name.lower()}",
            },
        }


def _burning(pairs: Sequence[tuple[float, str, str]]) -> str:
    budget = round(1 - OBJECTIVE, 6)
    both = (
        f"({LATE[long].name} > {times:g} * {budget:g} and {LATE[short].name} > {times:g} * {budget:g})"
        for times, long, short in pairs
    )
    return " or ".join(both)


def _stalled() -> str:
    """The partition's position does not move, work waits, and it does not get less."""
    lag, position = NOW.of(m.LAG_RECORDS), NOW.of(m.POSITION_OFFSET)
    return f"{lag} > 0 and {lag} >= {lag} offset 10m and {position} == {position} offset 10m"


def _source_stalled() -> str:
    """The same for a source without positions: work waits and no split becomes final."""
    oldest, final = m.OLDEST_UNCOMMITTED_TIMESTAMP_SECONDS, NOW.of(m.SPLITS_COMMITTED)
    now, before = (total(m.SPLITS_COMMITTED, asked, *SOURCE) for asked in (final, f"{final} offset 15m"))
    return f"{total(oldest, NOW.of(oldest), *SOURCE, how='max')} > 0 and {now} == {before}"


def _lost() -> str:
    """Growth, and the losses before an instance was first scraped: offsets expire while nothing runs."""
    by = (*SOURCE, "reason")
    lost = total(m.RECORDS_LOST, NOW.of(m.RECORDS_LOST), *by)
    young = f"{NOW.of(m.START_TIME_SECONDS)} > time() - 900"
    return f"({lost} > 0 and on (job, instance) {young}) or {NOW.increase(m.RECORDS_LOST, *by, over='15m')} > 0"


ALERTS: Final = (
    Alert(
        "StreamInferFreshnessBurnsFast",
        _burning(_PAGE),
        "2m",
        "critical",
        "{{ $labels.source }}: results are late, the month's error budget is used up within days",
        f"{{{{ $value | humanizePercentage }}}} of splits took longer than {FRESH_SECONDS:g} s from event to file; "
        f"the objective allows {1 - OBJECTIVE:.0%}.",
        "events older than the objective",
    ),
    Alert(
        "StreamInferFreshnessBurnsSlowly",
        _burning(_TICKET),
        "15m",
        "warning",
        "{{ $labels.source }}: results are late more often than the objective allows",
        f"{{{{ $value | humanizePercentage }}}} of splits took longer than {FRESH_SECONDS:g} s from event to file; "
        f"the objective allows {1 - OBJECTIVE:.0%}.",
        "events older than the objective",
    ),
    Alert(
        "StreamInferPartitionStalled",
        _stalled(),
        "5m",
        "critical",
        f"{_WHERE} is stalled",
        "Its committed position has not moved for 10 minutes, {{ $value | humanize }} records wait and do not get fewer.",
        "a partition whose work cannot be committed",
    ),
    Alert(
        "StreamInferSourceStalled",
        _source_stalled(),
        "5m",
        "critical",
        f"{_WHO} is stalled",
        "Work waits and none of it became final in 15 minutes.",
        "a source whose work cannot be committed",
    ),
    Alert(
        "StreamInferRejects",
        f"{REJECTED.name} > {_REJECTED_SHARE:g}",
        "5m",
        "warning",
        f"{_WHO} rejects {{{{ $value | humanizePercentage }}}} of its records",
        f"More than {_REJECTED_SHARE:.0%} of the records received in 15 minutes cannot be processed. They are kept with "
        "their reasons and can be replayed.",
        "records that cannot be processed",
    ),
    Alert(
        "StreamInferRecordsLost",
        _lost(),
        "0m",
        "critical",
        f"{_WHO} lost records: {{{{ $labels.reason }}}}",
        "About {{ $value | humanize }} records expired or were deleted before they could be read.",
        "offsets that expire or objects that vanish before they are read",
    ),
    Alert(
        "StreamInferConservationBroken",
        f"{total(m.RECORDS_UNACCOUNTED, NOW.of(m.RECORDS_UNACCOUNTED), *SOURCE)} > 0 or min_over_time({BALANCE.name}[5m]) > 0 "
        f"or max_over_time({BALANCE.name}[5m]) < 0",
        "1m",
        "critical",
        f"{_WHO} cannot account for every record",
        "{{ $value | humanize }} records were received and are neither row, reject nor named loss. This is a bug.",
        "a bug of this service",
    ),
    Alert(
        "StreamInferRestarts",
        f"{total(m.START_TIME_SECONDS, f'changes({NOW.of(m.START_TIME_SECONDS)}[30m])', *TARGET)} > 2",
        "0m",
        "warning",
        "{{ $labels.instance }} restarts again and again",
        "{{ $value }} starts within 30 minutes.",
        "a service that ends again and again",
    ),
    Alert(
        "StreamInferLedgerSlow",
        f"{LEDGER.name} > {_LEDGER_SECONDS:g}",
        "10m",
        "warning",
        "{{ $labels.instance }}: the ledger is slow",
        "One commit in a hundred takes longer than {{ $value | humanizeDuration }}; everything waits for commits.",
        "a database that is slow or locked",
    ),
    Alert(
        "StreamInferCircuitBreakerOpen",
        # the service ends soon after it sets this metric
        f"{total(m.CIRCUIT_BREAKER_OPEN, f'max_over_time({NOW.of(m.CIRCUIT_BREAKER_OPEN)}[10m])', *TARGET, how='max')} > 0",
        "0m",
        "critical",
        "{{ $labels.instance }}: the circuit breaker is open because everything fails",
        "Record after record failed, so the records are probably not the cause. The rest stays planned until the service is started again.",
        "a model or preprocessor that fails on everything",
    ),
    Alert(
        "StreamInferSourceDown",
        f"{total(m.SOURCE_UP, NOW.of(m.SOURCE_UP), *SOURCE, how='max')} < 1",
        "5m",
        "critical",
        f"{_WHO} is down",
        "It waits for a dependency, or has stopped; the status page says why. Nothing is lost meanwhile.",
        "a broker or store that cannot be reached",
    ),
    Alert(
        "StreamInferDependencyErrors",
        f"{NOW.increase(m.DEPENDENCY_ERRORS, *TARGET, 'stage', 'error_type', over='15m')} > 10",
        "15m",
        "warning",
        "{{ $labels.instance }}: {{ $labels.stage }} keeps waiting for {{ $labels.error_type }}",
        "{{ $value | humanize }} tries failed in 15 minutes and were repeated.",
        "a broker, store or database that fails again and again",
    ),
    Alert(
        "StreamInferWorkersDie",
        f"{NOW.increase(m.WORKER_DEATHS, *TARGET, 'stage', 'cause', over='15m')} > {_DEATHS}",
        "0m",
        "warning",
        "{{ $labels.instance }}: workers end in {{ $labels.stage }} ({{ $labels.cause }})",
        "About {{ $value | humanize }} worker processes ended while working in 15 minutes. Their splits are tried again.",
        "records or a model that crash, hang or exhaust the memory of workers",
    ),
    Alert(
        "StreamInferNotReady",
        f"{total(m.READY, NOW.of(m.READY), *TARGET, how='max')} < 1 unless "
        f"{total(m.STANDBY, NOW.of(m.STANDBY), *TARGET, how='max')} > 0",
        "15m",
        "critical",
        "{{ $labels.instance }} does not become ready",
        "No execution is warm and one is needed: its model does not load, or the cluster gives it no actors.",
        "an execution that does not start",
    ),
    Alert(
        "StreamInferDown",
        f"up == 0 and on (job, instance) last_over_time({NOW.of(m.BUILD_INFO)}[1d])",
        "5m",
        "critical",
        "{{ $labels.instance }} cannot be scraped",
        "It was scraped within the last day and does not answer now.",
        "a service that does not run",
    ),
    Alert(
        "StreamInferAbsent",
        f"absent({NOW.of(m.BUILD_INFO)})",
        "10m",
        "critical",
        "No stream-infer is scraped",
        "Prometheus has no instance: none runs, or its scrape configuration does not find them.",
        "no service at all",
    ),
)
