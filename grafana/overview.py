"""Dashboard: is the service healthy? Readable in ten seconds."""

from __future__ import annotations

from typing import Final

from grafana.panels import Board, Query, green_below, green_from, lines, number
from grafana.queries import DASHBOARD as D
from grafana.queries import total
from grafana.slo import FRESH_SECONDS, OBJECTIVE
from stream_infer.telemetry import metrics as m

_RANGE: Final = "$__range"
_FRESH: Final = D.within(m.END_TO_END_SECONDS, FRESH_SECONDS, over=_RANGE)
_ENDED: Final = (m.RECORDS_COMMITTED, m.RECORDS_REJECTED, m.RECORDS_LOST, m.RECORDS_UNACCOUNTED)
BALANCE: Final = " - ".join(total(metric, D.of(metric), "source") for metric in (m.RECORDS_RECEIVED, *_ENDED))

_HEALTH = (
    number(
        "Fresh",
        f"Share of splits whose oldest event was in a visible file within {FRESH_SECONDS:g} s, over the range shown. "
        f"The objective is {OBJECTIVE:.0%}.",
        "percentunit",
        Query(_FRESH, "fresh"),
        colours=green_from(OBJECTIVE - 0.01, OBJECTIVE),
    ),
    number(
        "Error budget left",
        "What is left of the share that may be late, over the range shown. Below 0 the objective is missed.",
        "percentunit",
        Query(f"1 - (1 - {_FRESH}) / {1 - OBJECTIVE:g}", "left"),
        colours=green_from(0, 0.25),
    ),
    number(
        "Oldest waiting record",
        "Age of the oldest work that is not final. 0 where nothing waits.",
        "s",
        Query(D.age(m.OLDEST_UNCOMMITTED_TIMESTAMP_SECONDS), "age"),
        colours=green_below(FRESH_SECONDS, 10 * FRESH_SECONDS),
    ),
    number(
        "Backlog",
        "Waiting records, planned records, and records in flight.",
        "short",
        Query(
            " + ".join(
                f"sum({D.of(metric)})" for metric in (m.WAITING_RECORDS, m.PLANNED_RECORDS, m.IN_FLIGHT_RECORDS)
            ),
            "records",
        ),
    ),
    number(
        "Drained in",
        "Time until everything that waits is final at the rate of the last minutes. Infinite: work waits and there is no progress.",
        "s",
        Query(total(m.DRAIN_ETA_SECONDS, D.of(m.DRAIN_ETA_SECONDS), how="max"), "eta"),
        colours=green_below(600, 3600),
    ),
    number(
        "Records unaccounted for",
        "Records read that are neither row, reject nor loss, over the range shown. Anything but 0 is a bug.",
        "short",
        Query(D.increase(m.RECORDS_UNACCOUNTED, over=_RANGE), "records"),
        colours=green_below(0.001, 0.001),
    ),
)
_SERVICE = (
    number(
        "Ready",
        "Instances that take work at once.",
        "short",
        Query(f"sum({D.of(m.READY)})", "instances"),
        colours=green_from(1, 1),
    ),
    number(
        "Sources up",
        "Share of sources that do not wait for a dependency and have not stopped.",
        "percentunit",
        Query(total(m.SOURCE_UP, D.of(m.SOURCE_UP), how="avg"), "up"),
        colours=green_from(0.5, 1),
    ),
    number(
        "Committed",
        "Records that became rows, in a second.",
        "cps",
        Query(D.rate(m.RECORDS_COMMITTED), "records"),
    ),
    number(
        "Rejected",
        "Records that cannot be processed, over the range shown. They are kept with their reason and can be replayed.",
        "short",
        Query(D.increase(m.RECORDS_REJECTED, over=_RANGE), "records"),
        colours=green_below(1, 1000),
    ),
    number(
        "Lost",
        "Records that could no longer be read, over the range shown: named losses.",
        "short",
        Query(D.increase(m.RECORDS_LOST, over=_RANGE), "records"),
        colours=green_below(0.001, 0.001),
    ),
    number(
        "Starts",
        "Starts of instances seen over the range shown.",
        "short",
        Query(f"sum(changes({D.of(m.START_TIME_SECONDS)}[{_RANGE}]))", "starts"),
        colours=green_below(1, 3),
    ),
)
_FRESHNESS = (
    lines(
        "Event to visible file",
        "From a split's oldest event to its file. The points are splits with a trace.",
        "s",
        *(Query(D.quantile(m.END_TO_END_SECONDS, q), f"p{q * 100:g}", exemplars=q == 0.99) for q in (0.5, 0.95, 0.99)),
        colours=((None, "transparent"), (FRESH_SECONDS, "red")),
    ),
    lines(
        "Fresh, by source",
        f"Share of splits whose oldest event was in a visible file within {FRESH_SECONDS:g} s.",
        "percentunit",
        Query(D.within(m.END_TO_END_SECONDS, FRESH_SECONDS, "source"), "{{source}}"),
        colours=((None, "transparent"), (OBJECTIVE, "green")),
        top=1,
    ),
    lines(
        "Oldest waiting record, by source",
        "Age of the oldest work that is not final. A line that rises second by second is a stalled source.",
        "s",
        Query(D.age(m.OLDEST_UNCOMMITTED_TIMESTAMP_SECONDS, "source"), "{{source}}"),
    ),
)
_CONSERVATION = (
    lines(
        "Received",
        "Records received by the read stage, of splits that are final.",
        "cps",
        Query(D.rate(m.RECORDS_RECEIVED, "source"), "{{source}}"),
        stacked=True,
        w=6,
    ),
    lines(
        "How they ended",
        "Endings of the records received: rows, rejects, named losses. The stack is as high as the records received.",
        "cps",
        *(Query(D.rate(metric), metric.name.removeprefix("records_")) for metric in _ENDED),
        stacked=True,
        w=6,
    ),
    lines(
        "Balance",
        "Received less committed, rejected, lost and unaccounted. 0, but for the instant of a commit.",
        "short",
        Query(BALANCE, "{{source}}"),
        w=6,
    ),
    lines(
        "In flight",
        "Records in the execution, and planned ones that wait to enter it. Not yet received, so no part of the balance.",
        "short",
        Query(f"sum({D.of(m.IN_FLIGHT_RECORDS)})", "in the execution"),
        Query(f"sum({D.of(m.PLANNED_RECORDS)})", "planned"),
        stacked=True,
        w=6,
    ),
)
_BACKLOG = (
    lines(
        "Waiting",
        "Records that wait and are not planned yet.",
        "short",
        Query(total(m.WAITING_RECORDS, D.of(m.WAITING_RECORDS), "source"), "{{source}}"),
        stacked=True,
    ),
    lines(
        "Drained in, by source",
        "Time until everything that waits is final at the rate of the last minutes.",
        "s",
        Query(total(m.DRAIN_ETA_SECONDS, D.of(m.DRAIN_ETA_SECONDS), "source", how="max"), "{{source}}"),
    ),
    lines(
        "Since the last commit",
        "Seconds since a split of the source was made final. No problem where nothing waits.",
        "s",
        Query(D.age(m.LAST_COMMIT_TIMESTAMP_SECONDS, "source"), "{{source}}"),
    ),
)

BOARD: Final = Board(
    "stream-infer-overview",
    "Overview",
    "Is the service healthy: freshness, backlog, when it is drained, and whether every record is accounted for.",
    (
        ("Is the service healthy?", (*_HEALTH, *_SERVICE)),
        ("Freshness", _FRESHNESS),
        ("Every record ends once", _CONSERVATION),
        ("Backlog", _BACKLOG),
    ),
)
