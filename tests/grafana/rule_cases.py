"""Timing of the alerts: series that a service would export, and when which alert fires. Times are minutes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metric_spec import Metric

LONG = 5 * 24 * 60
TARGET = {"job": "stream-infer", "instance": "a"}
SOURCE = {**TARGET, "source": "inbox"}
PARTITION = {**SOURCE, "topic": "t", "partition": "0"}
REJECTED = {**SOURCE, "stage": "infer", "error_type": "ValueError"}
LOST = {**SOURCE, "reason": "expired"}
OUTSIDE = {**TARGET, "stage": "read", "error_type": "store"}
LEDGER_FAST, LEDGER_SLOW = {**TARGET, "le": "0.1"}, {**TARGET, "le": "2.5"}
FRESH = {**SOURCE, "le": "60.0"}


def series(metric: Metric, labels: Mapping[str, str], part: str = "") -> str:
    """A series' name as promtool's tests write it."""
    matchers = ", ".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{metric.full_name}{part}{{{matchers}}}"


def steady(value: float) -> str:
    return f"{value:g}x{LONG}"


def growing(each: float, after: int = 0) -> str:
    """Grows every minute, from a minute on."""
    return f"0x{after} {each:g}+{each:g}x{LONG}" if after else f"0+{each:g}x{LONG}"


def until(before: float, minute: int, then: float) -> str:
    return f"{before:g}x{minute - 1} {then:g}x{LONG}"


UP = f'up{{job="{TARGET["job"]}", instance="{TARGET["instance"]}"}}'
BUILD = series(m.BUILD_INFO, {**TARGET, "version": "1", "python": "3", "ray": "2"})
READY, STANDBY = series(m.READY, TARGET), series(m.STANDBY, TARGET)
START, BREAKER = series(m.START_TIME_SECONDS, TARGET), series(m.CIRCUIT_BREAKER_OPEN, TARGET)
SOURCE_UP, OLDEST = series(m.SOURCE_UP, SOURCE), series(m.OLDEST_UNCOMMITTED_TIMESTAMP_SECONDS, SOURCE)
LAG, POSITION = series(m.LAG_RECORDS, PARTITION), series(m.POSITION_OFFSET, PARTITION)
RECEIVED, COMMITTED = series(m.RECORDS_RECEIVED, SOURCE), series(m.RECORDS_COMMITTED, SOURCE)
REJECTS, LOSSES = series(m.RECORDS_REJECTED, REJECTED), series(m.RECORDS_LOST, LOST)
UNACCOUNTED, SPLITS = series(m.RECORDS_UNACCOUNTED, SOURCE), series(m.SPLITS_COMMITTED, SOURCE)
IN_TIME = series(m.END_TO_END_SECONDS, FRESH, "_bucket")
ENDED = series(m.END_TO_END_SECONDS, SOURCE, "_count")
QUICK = series(m.LEDGER_COMMIT_SECONDS, LEDGER_FAST, "_bucket")
SLOW = series(m.LEDGER_COMMIT_SECONDS, LEDGER_SLOW, "_bucket")
COMMITS = series(m.LEDGER_COMMIT_SECONDS, {**TARGET, "le": "+Inf"}, "_bucket")
DEATHS = series(m.WORKER_DEATHS, {**TARGET, "stage": "infer", "cause": "died"})
OUTSIDE_ERRORS = series(m.DEPENDENCY_ERRORS, OUTSIDE)

# a service that has run for long and does its work
WELL: Mapping[str, str] = {
    UP: steady(1),
    BUILD: steady(1),
    READY: steady(1),
    STANDBY: steady(0),
    START: steady(-1e6),
    BREAKER: steady(0),
    SOURCE_UP: steady(1),
    OLDEST: growing(60),
    LAG: steady(50),
    POSITION: growing(100),
    RECEIVED: growing(100),
    COMMITTED: growing(100),
    REJECTS: steady(0),
    LOSSES: steady(0),
    UNACCOUNTED: steady(0),
    SPLITS: growing(10),
    IN_TIME: growing(10),
    ENDED: growing(10),
    QUICK: growing(10),
    SLOW: growing(10),
    COMMITS: growing(10),
    OUTSIDE_ERRORS: steady(0),
    DEATHS: steady(0),
}


@dataclass(frozen=True)
class Case:
    """One course of events.

    Attributes:
        changed: series that differ from a service that is well; None: there is no such series.
        fires: minute -> names without their prefix.
    """

    name: str
    changed: Mapping[str, str | None]
    fires: Mapping[int, set[str]]

    def document(self) -> dict[str, Any]:
        given = {name: value for name, value in {**WELL, **self.changed}.items() if value}
        last = str(max(self.fires) + 1)
        return {
            "interval": "1m",
            "input_series": [
                {"series": name, "values": value.replace(str(LONG), last)} for name, value in given.items()
            ],
            "promql_expr_test": [
                {
                    "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": f"{minute}m",
                    "exp_samples": [
                        {"labels": f'{{alertname="StreamInfer{alert}"}}', "value": 1} for alert in sorted(alerts)
                    ],
                }
                for minute, alerts in self.fires.items()
            ],
        }


def case(name: str, changed: Mapping[str, str | None], **fires: set[str]) -> Case:
    """``m15={"Restarts"}``: what fires at that minute; nothing else does."""
    return Case(name, changed, {int(minute[1:]): alerts for minute, alerts in fires.items()})


NONE: set[str] = set()
CASES = (
    case("well", {}, m1=NONE, m30=NONE, m120=NONE),
    case(
        "idle", dict.fromkeys((OLDEST, LAG, POSITION, SPLITS, RECEIVED, COMMITTED, ENDED, IN_TIME), steady(0)), m60=NONE
    ),
    case("a fifth is late", {IN_TIME: growing(8)}, m1=NONE, m6={"FreshnessBurnsFast"}),
    case("a tenth is late", {IN_TIME: growing(9)}, m1=NONE, m6={"FreshnessBurnsFast"}),
    case("two in a hundred are late", {IN_TIME: growing(9.8)}, m10=NONE, m20={"FreshnessBurnsSlowly"}),
    case("one in two hundred is late", {IN_TIME: growing(9.95)}, m60=NONE, m300=NONE),
    case(
        "was late, is well again",
        {IN_TIME: f"0x20 0+10x{LONG}"},
        m15={"FreshnessBurnsFast"},
        m60={"FreshnessBurnsSlowly"},
    ),
    case("partition stands", {LAG: growing(10), POSITION: steady(5)}, m13=NONE, m16={"PartitionStalled"}),
    case("partition stands, lag falls", {LAG: f"5000-10x{LONG}", POSITION: steady(5)}, m60=NONE),
    case("partition stands, nothing waits", {LAG: steady(0), POSITION: steady(5)}, m60=NONE),
    case("source stands", {SPLITS: steady(7), OLDEST: steady(60)}, m19=NONE, m21={"SourceStalled"}),
    case("source rests", {SPLITS: steady(7), OLDEST: steady(0)}, m60=NONE),
    case("rejects", {REJECTS: growing(2, 30), COMMITTED: f"0+100x30 3098+98x{LONG}"}, m33=NONE, m60={"Rejects"}),
    case("few rejects", {REJECTS: growing(0.5), COMMITTED: growing(99.5)}, m60=NONE),
    case(
        "loss",
        {LOSSES: until(0, 30, 20), RECEIVED: f"0+100x29 3020+100x{LONG}"},
        m29=NONE,
        m31={"RecordsLost"},
        m50=NONE,
    ),
    case(
        "loss before the first scrape",
        {LOSSES: steady(20), START: steady(0), RECEIVED: f"20+100x{LONG}"},
        m1={"RecordsLost"},
        m14={"RecordsLost"},
        m16=NONE,
    ),
    case("old loss", {LOSSES: steady(20), RECEIVED: f"20+100x{LONG}"}, m1=NONE, m60=NONE),
    case(
        "unaccounted",
        {UNACCOUNTED: until(0, 30, 1), RECEIVED: f"0+100x29 3001+100x{LONG}"},
        m29=NONE,
        m32={"ConservationBroken"},
    ),
    case("balance does not close", {COMMITTED: growing(99)}, m1=NONE, m10={"ConservationBroken"}),
    case("scrape in the middle of a commit", {RECEIVED: f"0+100x29 3005 3100+100x{LONG}"}, m31=NONE, m60=NONE),
    case("restarts", {START: f"1x9 2x4 3x4 4x{LONG}"}, m18=NONE, m20={"Restarts"}, m60=NONE),
    case("one restart", {START: f"1x9 2x{LONG}"}, m12=NONE, m20=NONE),
    case("ledger slow", {QUICK: growing(9)}, m9=NONE, m20={"LedgerSlow"}),
    case("ledger slow for a moment", {QUICK: f"0+10x30 300x2 320+10x{LONG}"}, m33=NONE, m36=NONE),
    case(
        "circuit_breaker",
        {BREAKER: "0x9 1x1 stale"},
        m9=NONE,
        m10={"CircuitBreakerOpen"},
        m18={"CircuitBreakerOpen"},
        m25=NONE,
    ),
    case("source down", {SOURCE_UP: until(1, 10, 0)}, m14=NONE, m16={"SourceDown"}),
    case("source down for a moment", {SOURCE_UP: f"1x9 0x3 1x{LONG}"}, m13=NONE, m20=NONE),
    case("store fails", {OUTSIDE_ERRORS: growing(2)}, m15=NONE, m30={"DependencyErrors"}),
    case("store fails now and then", {OUTSIDE_ERRORS: growing(0.2)}, m60=NONE),
    case("workers die", {DEATHS: growing(1, 10)}, m20=NONE, m25={"WorkersDie"}),
    case("a record kills", {DEATHS: until(0, 10, 9)}, m15=NONE, m30=NONE),
    case("not ready", {READY: until(1, 10, 0)}, m24=NONE, m26={"NotReady"}),
    case("standby", {READY: steady(0), STANDBY: steady(1)}, m60=NONE),
    case(
        "gone",
        dict.fromkeys(WELL, "0x8 stale") | {UP: until(1, 10, 0), BUILD: "1x8 stale"},
        m14=NONE,
        m16={"Down"},
        m22={"Down", "Absent"},
    ),
    case("never there", dict.fromkeys(WELL), m9=NONE, m11={"Absent"}),
    case("another job is down", {'up{job="other", instance="b"}': steady(0)}, m60=NONE),
)
