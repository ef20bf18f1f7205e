"""Warnings about losses, once they are in the ledger. A source finds them as it plans, a worker as it reads."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable

from stream_infer.splits import Loss

log = logging.getLogger(__name__)
_EXAMPLES = 3


def report(losses: Iterable[Loss]) -> None:
    """Log one warning for each source and reason: thousands of objects may expire at once, and the ledger names each."""
    groups: defaultdict[tuple[str, str], list[Loss]] = defaultdict(list)
    for loss in losses:
        groups[loss.source, loss.reason].append(loss)
    for (source, reason), group in groups.items():
        examples = [*map(_description, group[:_EXAMPLES]), *(["…"] if len(group) > _EXAMPLES else [])]
        number = sum(loss.records for loss in group)
        log.warning(
            "source %s: lost, because %s before it was read: %s (%d records in all)",
            *(source, reason, ", ".join(examples), number),
            extra={"source": source, "coordinate": group[0].record_id},
        )


def _description(loss: Loss) -> str:
    return loss.record_id if loss.records == 1 else f"{loss.records} records from {loss.record_id} on"
