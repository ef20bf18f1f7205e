"""The freshness objective, which dashboards and alerts share."""

from __future__ import annotations

from typing import Final

FRESH_SECONDS: Final = 60.0  # a bucket of end_to_end_seconds
OBJECTIVE: Final = 0.99  # share of splits that are so fresh
