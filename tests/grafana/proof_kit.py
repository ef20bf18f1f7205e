"""A real Prometheus is asked everything, and the alerts that it fires are noted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from urllib.error import HTTPError

from grafana.alerts import ALERTS
from grafana.records import RECORDS
from stream_infer.ops.parts import Prometheus
from tests.grafana import grafana_kit as kit

NAMES = {alert.name for alert in ALERTS}


@dataclass
class Proof:
    """What Prometheus answered.

    Attributes:
        asked: every expression by its location.
        returning: locations whose expression returned data.
        excused: location to reason.
        fired: alert to its summary, as Prometheus filled it in.
    """

    prometheus: Prometheus
    asked: dict[str, str] = field(default_factory=dict)
    returning: set[str] = field(default_factory=set)
    excused: dict[str, str] = field(default_factory=dict)
    fired: dict[str, str] = field(default_factory=dict)

    def ask(self, expressions: Iterable[tuple[str, str]]) -> None:
        """Ask each once more that has not returned data yet."""
        for location, expr in expressions:
            self.asked[location] = expr
            if location not in self.returning and self._returns(expr):
                self.returning.add(location)

    def silent(self) -> set[str]:
        """Places that returned nothing and have no excuse."""
        return self.asked.keys() - self.returning - self.excused.keys()

    def look(self) -> None:
        """Note the alerts that fire now."""
        for alert in self.prometheus.firing():
            annotations = alert["annotations"]
            assert not any("<error" in text for text in annotations.values()), annotations
            self.fired[alert["labels"]["alertname"]] = annotations["summary"]

    def until_fired(self, *names: str, lives: Callable[[], bool] = lambda: True, seconds: float = 400) -> None:
        """Return when these alerts have been seen to fire; fails at once where the service no longer lives."""
        wanted = {f"StreamInfer{name}" for name in names}
        assert wanted <= NAMES

        def fired() -> bool:
            self.look()
            assert lives() or wanted <= self.fired.keys(), (
                f"the service ended before {sorted(wanted)} fired; {self._unanswered()}"
            )
            return wanted <= self.fired.keys()

        until(fired, f"fired: {sorted(wanted)}", seconds, self._unanswered)

    def _unanswered(self) -> str:
        return f"fired so far: {sorted(self.fired)}"

    def report(self) -> str:
        """The summary, for people."""
        lines = [
            f"expressions: {len(self.asked)}",
            f"returning data: {len(self.returning)}",
            f"excused: {len(self.excused)}",
            *(f"  {location}: {reason}" for location, reason in sorted(self.excused.items())),
            f"alerts: {len(NAMES)}",
            f"seen firing: {len(self.fired)}",
            *(f"  {name}: {summary}" for name, summary in sorted(self.fired.items())),
            f"not made here: {', '.join(sorted(NAMES - self.fired.keys())) or 'none'}",
        ]
        return "\n".join(lines)

    def _returns(self, expr: str) -> bool:
        try:
            result = self.prometheus.query(expr)
        except HTTPError as error:
            raise AssertionError(f"{expr}: {error.read().decode()}") from None
        return any(not math.isnan(float(series["value"][1])) for series in result)


def of_panels() -> list[tuple[str, str]]:
    return [
        (expression.location, kit.substituted(expression.expr, window="15s", span="2m"))
        for expression in kit.expressions()
    ]


def of_records() -> list[tuple[str, str]]:
    return [(f"rule: {record.name}", record.name) for record in RECORDS]


def of_alerts() -> list[tuple[str, str]]:
    """What each alert looks at, whether or not it is wrong: its selectors, one by one."""
    expressions = {}
    for alert in ALERTS:
        for selector in kit.selectors(alert.expr):
            expressions[f"alert: {alert.name} looks at {selector.name}"] = f"{selector.name}{selector.matchers}"
    return list(expressions.items())


def until(condition: Callable[[], object], what: str, seconds: float, details: Callable[[], str] = str) -> None:
    """Return when the condition holds; fails after a deadline and says what is known then."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}; {details()}"
        time.sleep(0.2)
