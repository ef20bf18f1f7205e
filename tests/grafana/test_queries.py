"""An expression can only ask for what the list of metrics declares."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from grafana.queries import DASHBOARD, Scope, total
from stream_infer.telemetry import metrics as m


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: DASHBOARD.of(m.RECORDS_LOST, stage="read"), "has no label stage"),
        (lambda: DASHBOARD.of(m.RECORDS_LOST, reason="stolen"), "reason is never stolen"),
        (lambda: DASHBOARD.of(m.DEPENDENCY_ERRORS, stage="plan|sleep"), "stage is never plan|sleep"),
        (lambda: DASHBOARD.of(m.END_TO_END_SECONDS), "name the part bucket, sum or count of a histogram"),
        (lambda: DASHBOARD.of(m.READY, "bucket"), "no part of another metric"),
        (lambda: DASHBOARD.rate(m.RECORDS_LOST, "model"), "has no label model"),
        (lambda: DASHBOARD.within(m.END_TO_END_SECONDS, 61), "61 is none of its buckets"),
        (lambda: total(m.READY, "1", "source"), "has no label source"),
    ],
)
def test_what_is_not_declared_is_an_error(ask: Callable[[], str], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        ask()


def test_expressions_as_they_are_sent() -> None:
    scope = Scope('job="a"', "5m")
    name = "stream_infer_records_lost_total"
    assert scope.of(m.RECORDS_LOST, reason="expired") == f'{name}{{job="a", reason="expired"}}'
    assert Scope("", "1m").of(m.READY) == "stream_infer_ready"
    assert scope.of(m.RECORDS_LOST, source="$source") == f'{name}{{job="a", source=~"$source"}}'
    assert scope.rate(m.RECORDS_LOST, "source") == f'sum by (source) (rate({name}{{job="a"}}[5m]))'
    assert scope.increase(m.RECORDS_LOST, over="1h") == f'sum(increase({name}{{job="a"}}[1h]))'
    assert 'le="60.0"' in scope.within(m.END_TO_END_SECONDS, 60)
