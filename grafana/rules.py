"""The rules file of Prometheus, and the same rules with shorter times for tests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from grafana.alerts import ALERTS
from grafana.records import RECORDS

RUNBOOK: Final = "docs/runbook.md"
_HEADER: Final = "# Written by `make dashboards` from grafana/alerts.py and grafana/records.py: change it there.\n"
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def groups(runbook: str = RUNBOOK) -> list[dict[str, Any]]:
    """The groups of the rules file; alerts link to sections of a runbook at this address."""
    return [
        {"name": "stream-infer.records", "rules": [record.rule() for record in RECORDS]},
        {"name": "stream-infer.alerts", "rules": [alert.rule(runbook) for alert in ALERTS]},
    ]


def rendered(runbook: str = RUNBOOK) -> str:
    """The rules file."""
    return _HEADER + yaml.safe_dump({"groups": groups(runbook)}, sort_keys=False, width=120, allow_unicode=True)


def accelerated(times: int, least: int = 5, divisors: Mapping[str, int] | None = None) -> dict[str, Any]:
    """The same rules with all windows and waits divided by a factor, for a test that cannot wait for hours.

    Args:
        least: shortest window in seconds; a rate needs some scrapes in it.
        divisors: smaller divisors of alerts that need more time.
    """

    def rule(original: Mapping[str, Any]) -> dict[str, Any]:
        by = (divisors or {}).get(original.get("alert", ""), times)

        def seconds(match: re.Match[str]) -> int:
            return int(match[1]) * _SECONDS[match[2]] // by

        expr = re.sub(r"\[(\d+)([smhd])\]", lambda match: f"[{max(least, seconds(match))}s]", original["expr"])
        expr = re.sub(r"offset (\d+)([smhd])", lambda match: f"offset {seconds(match)}s", expr)
        expr = re.sub(r"time\(\) - (\d+)", lambda match: f"time() - {int(match[1]) // by}", expr)
        wait = re.fullmatch(r"(\d+)([smhd])", original.get("for", ""))
        return {**original, "expr": expr, **({"for": f"{seconds(wait)}s"} if wait else {})}

    return {"groups": [{**group, "interval": "1s", "rules": [*map(rule, group["rules"])]} for group in groups()]}
