"""Recovery of splits whose execution has ended before them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from stream_infer import crash
from stream_infer.contracts import Sink
from stream_infer.driver.committer import Committer
from stream_infer.ledger import Ledger
from stream_infer.splits import Split

log = logging.getLogger(__name__)
_AT_ONCE = 16  # files that are looked for at the same time


def recovered(splits: Sequence[Split], committer: Committer, sink: Sink, ledger: Ledger) -> list[Split]:
    """Adopt the files that exist already; returns the other splits, to be tried again, with that attempt counted in the ledger.

    The first attempt of a split is not counted so: any planned split may have been tried once.
    """
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="adopt") as pool:
        receipts = pool.map(lambda split: committer.wait_out(lambda: sink.find(split)), splits)
        adoptable = {split.split_id: receipt for split, receipt in zip(splits, receipts, strict=True) if receipt}
    crash.point("recover.found")
    for split in splits:
        if split.split_id in adoptable:
            committer.adopt(split, adoptable[split.split_id])
    rest = [split for split in splits if split.split_id not in adoptable]
    crash.point("recover.adopted")
    again = committer.wait_out(lambda: ledger.attempt(rest))
    crash.point("recover.counted")
    if splits:
        log.info("%d splits were unfinished; %d of their files are adopted", len(splits), len(adoptable))
    return [split.tried() for split in again]
