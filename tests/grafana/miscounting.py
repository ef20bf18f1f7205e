"""`stream-infer` with a defect: while the file that STREAM_INFER_MISCOUNT names exists, each split counts a record too many."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from stream_infer.ops import cli
from stream_infer.splits import Receipt, Split
from stream_infer.telemetry import record_metrics
from stream_infer.telemetry.metrics import Metrics

_FILE = Path(os.environ["STREAM_INFER_MISCOUNT"])
_committed = record_metrics.committed


def _miscounted(metrics: Metrics, split: Split, receipt: Receipt, *more: Any) -> None:
    received = receipt.records if receipt.received is None else receipt.received
    _committed(metrics, split, replace(receipt, received=received + _FILE.exists()), *more)


if __name__ == "__main__":
    record_metrics.committed = _miscounted  # type: ignore[assignment]
    cli.main()
