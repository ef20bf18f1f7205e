"""The ledger's part in planning, for tests that plan files without a ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stream_infer.connectors.files.source import FilesSource
from stream_infer.contracts import PlanBudget, Planned

NOW = 1_800_000_000.0
DAY = 86_400.0


class Claims:
    """A list of claimed objects that counts its queries."""

    def __init__(self) -> None:
        self.claimed: list[str] = []
        self.asked = 0

    def get(self, key: str) -> None:
        return None

    def unseen(self, object_ids: Sequence[str]) -> set[str]:
        self.asked += len(object_ids)
        return set(object_ids) - set(self.claimed)


def plan(source: FilesSource, claims: Claims, **budget: Any) -> list[Planned]:
    """Plan at `NOW` and claim the planned objects."""
    values: dict[str, Any] = {"splits": 1000, "records": 100, "bytes": 2**20, "freshness": 0.0, "now": NOW} | budget
    parts = []
    for part in source.plan(claims, PlanBudget(**values)):
        claims.claimed += [item.object_id for item in part.objects]
        parts.append(part)
    return parts


def keys(parts: Sequence[Planned]) -> list[str]:
    """The objects' keys, in the order of the plan."""
    return [item["key"] for part in parts if part.split for item in part.split.bounds["objects"]]
