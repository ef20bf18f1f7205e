"""Losses are said aloud once they stand in the ledger, whoever found them: a source as it plans, or a worker."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable

from stream_infer.splits import Loss

log = logging.getLogger(__name__)
_NAMED = 3


def tell(losses: Iterable[Loss]) -> None:
    """One warning for each source and reason: thousands of objects may go at once, and the ledger names each."""
    groups: defaultdict[tuple[str, str], list[Loss]] = defaultdict(list)
    for loss in losses:
        groups[loss.source, loss.reason].append(loss)
    for (source, reason), group in groups.items():
        named = [*map(_named, group[:_NAMED]), *(["…"] if len(group) > _NAMED else [])]
        number = sum(loss.records for loss in group)
        log.warning(
            "source %s: lost, because %s before it was read: %s (%d records in all)",
            *(source, reason, ", ".join(named), number),
            extra={"source": source, "coordinate": group[0].record_id},
        )


def _named(loss: Loss) -> str:
    return loss.record_id if loss.records == 1 else f"{loss.records} records from {loss.record_id} on"
