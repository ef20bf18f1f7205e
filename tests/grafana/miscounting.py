"""`stream-infer` with a defect: while the file that STREAM_INFER_MISCOUNT names exists, each split counts a record too many."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from stream_infer.ops import cli
from stream_infer.splits import Receipt, Split
from stream_infer.telemetry import figures
from stream_infer.telemetry.metrics import Metrics

_FILE = Path(os.environ["STREAM_INFER_MISCOUNT"])
_committed = figures.committed


def _miscounted(metrics: Metrics, split: Split, receipt: Receipt, *more: float | None) -> None:
    received = receipt.records if receipt.received is None else receipt.received
    _committed(metrics, split, replace(receipt, received=received + _FILE.exists()), *more)


if __name__ == "__main__":
    figures.committed = _miscounted
    cli.main()
