"""What becomes of splits whose execution is gone."""

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
_AT_ONCE = 16  # looks for files


def recovered(splits: Sequence[Split], committer: Committer, sink: Sink, ledger: Ledger) -> list[Split]:
    """Adopt the files that stand already; returns the rest, to be computed again, its attempt counted durably first.

    The first attempt needs no transaction of its own: a split that is planned may have been tried once.
    """
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="adopt") as pool:
        found = pool.map(lambda split: committer.patiently(lambda: sink.find(split)), splits)
        standing = {split.split_id: receipt for split, receipt in zip(splits, found, strict=True) if receipt}
    crash.point("recover.found")
    for split in splits:
        if split.split_id in standing:
            committer.adopt(split, standing[split.split_id])
    rest = [split for split in splits if split.split_id not in standing]
    crash.point("recover.adopted")
    again = committer.patiently(lambda: ledger.attempt(rest))
    crash.point("recover.counted")
    if splits:
        log.info("%d splits were unfinished; %d files of theirs are adopted", len(splits), len(standing))
    return [split.tried() for split in again]
