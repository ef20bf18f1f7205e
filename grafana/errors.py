"""Dashboard: what went wrong, and how did it end?"""

from __future__ import annotations

from typing import Final

from grafana.panels import Board, Query, green_below, lines, listing, number
from grafana.queries import DASHBOARD as D
from grafana.queries import total
from stream_infer.telemetry import metrics as m

_RANGE: Final = "$__range"
# rows and rejects both ended; a source that is quiet has no ratio
_RATIO: Final = f"{D.rate(m.RECORDS_REJECTED, 'source')} / {D.rate(m.RECORDS_RECEIVED, 'source')}"

_TOTALS = (
    number(
        "Rejected",
        "Records that cannot be processed, over the range shown.",
        "short",
        Query(D.increase(m.RECORDS_REJECTED, over=_RANGE), "records"),
        colours=green_below(1, 1000),
    ),
    number(
        "Lost",
        "Records that could no longer be read, over the range shown.",
        "short",
        Query(D.increase(m.RECORDS_LOST, over=_RANGE), "records"),
        colours=green_below(0.001, 0.001),
    ),
    number(
        "Circuit breaker open",
        "1 while the circuit breaker is open because everything fails: no more records are rejected, and the service ends.",
        "short",
        Query(f"max({D.of(m.CIRCUIT_BREAKER_OPEN)})", "open"),
        colours=green_below(1, 1),
        texts={"0": "no", "1": "yes"},
    ),
    number(
        "Failed executions",
        "Executions that ended in a failure, over the range shown. The next one took over.",
        "short",
        Query(D.increase(m.EXECUTIONS, over=_RANGE, end="failed"), "executions"),
        colours=green_below(1, 10),
    ),
    number(
        "Standby",
        "Instances that wait for the ledger while another owns it.",
        "short",
        Query(f"sum({D.of(m.STANDBY)})", "instances"),
    ),
    number(
        "Ledger epoch",
        "Fencing number of the instance that owns the ledger. It grows with each start and take-over.",
        "short",
        Query(f"max({D.of(m.LEDGER_EPOCH)})", "epoch"),
    ),
)
_REJECTS = (
    lines(
        "Rejects by error",
        "Records rejected, by the class of the error. `stream-infer rejects FILE list` shows each with its reason.",
        "cps",
        Query(f"topk(10, {D.rate(m.RECORDS_REJECTED, 'error_type')})", "{{error_type}}"),
        stacked=True,
    ),
    lines(
        "Rejects by stage",
        "Records rejected, by the stage that rejected them.",
        "cps",
        Query(D.rate(m.RECORDS_REJECTED, "stage"), "{{stage}}"),
        stacked=True,
    ),
    lines(
        "Rejects, share",
        "Share of the records received that were rejected.",
        "percentunit",
        Query(_RATIO, "{{source}}"),
    ),
    listing(
        "Rejects over the range shown",
        "Records rejected, by source, stage and error.",
        "short",
        Query(
            f"topk(20, {D.increase(m.RECORDS_REJECTED, 'source', 'stage', 'error_type', over=_RANGE)})",
            "{{error_type}}",
        ),
        {"source": "Source", "stage": "Stage", "error_type": "Error", "Value": "Records"},
    ),
    lines(
        "Rejects published",
        "Rejects written to the ledger, to Parquet and to Kafka.",
        "cps",
        Query(D.rate(m.REJECTS_PUBLISHED, "target"), "{{target}}"),
        w=12,
    ),
)
_LOSSES = (
    lines(
        "Named losses",
        "Records that could no longer be read: their offsets expired, or the object was replaced or deleted first.",
        "cps",
        Query(D.rate(m.RECORDS_LOST, "source", "reason"), "{{source}} {{reason}}"),
        stacked=True,
        w=12,
    ),
    lines(
        "Unaccounted for",
        "Records read that are neither row, reject nor loss. Must stay 0.",
        "cps",
        Query(D.rate(m.RECORDS_UNACCOUNTED, "source"), "{{source}}"),
        w=12,
    ),
)
_TRIES = (
    lines(
        "Retries of splits",
        "Splits dispatched once more, because the execution failed or the service was restarted.",
        "cps",
        Query(D.rate(m.SPLIT_RETRIES, "source"), "{{source}}"),
    ),
    lines(
        "Splits bisected",
        "Splits bisected to find a record that cannot be processed.",
        "cps",
        Query(D.rate(m.BISECTIONS, "source"), "{{source}}"),
    ),
    lines(
        "Workers that ended while working",
        "They crashed, hung and were killed, or were killed because their node ran out of memory. Their splits are tried again.",
        "cps",
        Query(D.rate(m.WORKER_DEATHS, "stage", "cause"), "{{stage}} {{cause}}"),
    ),
    lines(
        "Dependencies",
        "Failures of dependencies, by stage and dependency. The failed try is repeated until it succeeds.",
        "cps",
        Query(D.rate(m.DEPENDENCY_ERRORS, "stage", "error_type"), "{{stage}} {{error_type}}"),
        w=12,
    ),
    lines(
        "Executions ended",
        "Executions by how they ended: rotated (old), idle (no work), failed, drained (stopped).",
        "cps",
        Query(D.rate(m.EXECUTIONS, "end"), "{{end}}"),
        w=12,
    ),
)
_INSTANCES = (
    lines(
        "Age of instances",
        "Time since each instance started. A saw-tooth is a service that restarts again and again.",
        "s",
        Query(
            total(m.START_TIME_SECONDS, f"time() - {D.of(m.START_TIME_SECONDS)}", "instance", how="min"), "{{instance}}"
        ),
        w=12,
    ),
    lines(
        "Ready",
        "1 while a warm execution takes work, or none is needed.",
        "short",
        Query(total(m.READY, D.of(m.READY), "instance", how="max"), "{{instance}}"),
        top=1,
        w=12,
    ),
)

BOARD: Final = Board(
    "stream-infer-errors",
    "Errors and rejects",
    "Rejects with their errors, named losses, retries, failures of dependencies, restarts.",
    (
        ("In short", _TOTALS),
        ("Rejects", _REJECTS),
        ("Losses", _LOSSES),
        ("Retries and dependencies", _TRIES),
        ("Instances", _INSTANCES),
    ),
)
