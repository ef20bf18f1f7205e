"""Dashboard: does work arrive, and how far behind is the service?"""

from __future__ import annotations

from typing import Final

from grafana.panels import Board, Query, green_below, green_from, lines, number
from grafana.queries import DASHBOARD as D
from grafana.queries import total
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metric_spec import Metric

_PARTITION: Final = ("source", "topic", "partition")
_NAMED: Final = "{{source}} {{topic}}/{{partition}}"


def _of(metric: Metric, *by: str, how: str = "sum") -> str:
    return total(metric, D.of(metric, source="$source"), *by, how=how)


_STATE = (
    number(
        "Up",
        "0 while the source waits for a dependency, or has stopped. The status page says why.",
        "short",
        Query(_of(m.SOURCE_UP, "source", how="max"), "{{source}}"),
        colours=green_from(1, 1),
        texts={"0": "down", "1": "up"},
        w=8,
    ),
    number(
        "Waiting",
        "Records that wait and are not planned yet.",
        "short",
        Query(_of(m.WAITING_RECORDS, "source"), "{{source}}"),
        w=8,
    ),
    number(
        "Drained in",
        "Time until everything that waits is final at the rate of the last minutes.",
        "s",
        Query(_of(m.DRAIN_ETA_SECONDS, "source", how="max"), "{{source}}"),
        colours=green_below(600, 3600),
        w=8,
    ),
)
_KAFKA = (
    lines(
        "Lag, records",
        "Records of each partition behind the committed position. One partition alone: its key is hot, or a split of "
        "it is stuck.",
        "short",
        Query(_of(m.LAG_RECORDS, *_PARTITION, how="max"), _NAMED),
    ),
    lines(
        "Lag, seconds",
        "Age of the record at the committed position of each partition.",
        "s",
        Query(_of(m.LAG_SECONDS, *_PARTITION, how="max"), _NAMED),
    ),
    lines(
        "Position",
        "How fast the committed offset of each partition grows. 0 with lag above 0: the partition is stalled.",
        "cps",
        Query(
            total(
                m.POSITION_OFFSET,
                f"deriv({D.of(m.POSITION_OFFSET, source='$source')}[{D.window}])",
                *_PARTITION,
                how="max",
            ),
            _NAMED,
        ),
    ),
)
_FILES = (
    lines(
        "Objects",
        "Objects that wait and are not planned yet.",
        "short",
        Query(_of(m.WAITING_OBJECTS, "source"), "{{source}}"),
        stacked=True,
        w=12,
    ),
    lines(
        "Bytes",
        "Bytes that wait and are not planned yet.",
        "bytes",
        Query(_of(m.WAITING_BYTES, "source"), "{{source}}"),
        stacked=True,
        w=12,
    ),
)
_DISCOVERY = (
    lines(
        "Arrived",
        "Records received, of splits that are final.",
        "cps",
        Query(D.rate(m.RECORDS_RECEIVED, "source", source="$source"), "{{source}}"),
        stacked=True,
        w=6,
    ),
    lines(
        "Bytes read",
        "Content read, of committed splits.",
        "Bps",
        Query(D.rate(m.READ_BYTES, "source", source="$source"), "{{source}}"),
        stacked=True,
        w=6,
    ),
    lines(
        "Planned to first read",
        "How long a planned split waits until an actor reads it.",
        "s",
        *(
            Query(D.quantile(m.QUEUE_WAIT_SECONDS, q, "source", source="$source"), f"{{{{source}}}} p{q * 100:g}")
            for q in (0.5, 0.95)
        ),
        w=6,
    ),
    lines(
        "Trouble while planning and reading",
        "Failures of brokers and stores. The failed try is repeated until it succeeds.",
        "cps",
        Query(D.rate(m.DEPENDENCY_ERRORS, "stage", "error_type", stage="plan|read"), "{{stage}} {{error_type}}"),
        w=6,
    ),
)

BOARD: Final = Board(
    "stream-infer-sources",
    "Sources",
    "Kafka lag in records and seconds by partition, objects and bytes that wait, discovery.",
    (("State", _STATE), ("Kafka", _KAFKA), ("Files", _FILES), ("Discovery and reading", _DISCOVERY)),
    by_source=True,
)
