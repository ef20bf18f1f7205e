"""Recording rules: series that alerts need and that are expensive to compute over days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from grafana.queries import TARGET, Scope, total
from grafana.slo import FRESH_SECONDS
from stream_infer.telemetry import metrics as m

NOW: Final = Scope("", "5m")
SOURCE: Final = (*TARGET, "source")
_WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
_ENDS: Final = (m.RECORDS_COMMITTED, m.RECORDS_REJECTED, m.RECORDS_LOST, m.RECORDS_UNACCOUNTED)
_QUARTER: Final = Scope("", "15m")


@dataclass(frozen=True, slots=True)
class Record:
    """A recording rule."""

    name: str
    expr: str

    def rule(self) -> dict[str, Any]:
        return {"record": self.name, "expr": self.expr}


LATE: Final[Mapping[str, Record]] = {
    window: Record(
        f"job_source:{m.END_TO_END_SECONDS.full_name}:late_ratio_rate{window}",
        f"1 - {Scope('', window).within(m.END_TO_END_SECONDS, FRESH_SECONDS, 'job', 'source')}",
    )
    for window in _WINDOWS
}
REJECTED: Final = Record(
    f"job_instance_source:{m.RECORDS_REJECTED.full_name}:ratio_rate15m",
    f"{_QUARTER.rate(m.RECORDS_REJECTED, *SOURCE)} / {_QUARTER.rate(m.RECORDS_RECEIVED, *SOURCE)}",
)
LEDGER: Final = Record(
    f"job_instance:{m.LEDGER_COMMIT_SECONDS.full_name}:p99_rate5m",
    NOW.quantile(m.LEDGER_COMMIT_SECONDS, 0.99, *TARGET),
)
BALANCE: Final = Record(
    f"job_instance_source:{m.RECORDS_RECEIVED.full_name}:balance",
    " - ".join(total(metric, NOW.of(metric), *SOURCE) for metric in (m.RECORDS_RECEIVED, *_ENDS)),
)
RECORDS: Final = (*LATE.values(), REJECTED, LEDGER, BALANCE)
