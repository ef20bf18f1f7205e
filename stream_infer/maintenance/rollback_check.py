"""Refusal of a ledger that is older than its output. One restored from a backup would plan records of later files again."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice

from stream_infer.contracts import Sink
from stream_infer.errors import Fatal
from stream_infer.ledger import Ledger

_PAGE = 5000


def refuse_older_ledger(ledger: Ledger, sink: Sink, sources: Collection[str]) -> None:
    """Compare the names of the output's files with the ledger, before a source plans.

    Lists the folders of the days since this ledger planned last; for a new ledger the whole output. Reads the footer of a file
    only if the ledger never planned its split. Output in folders of event dates is listed for the same days.

    Args:
        sources: names of the pipeline's sources; files of other sources are ignored.

    Raises:
        Fatal: there are files of these sources that the ledger never planned.
        Retryable: the store or the database did not answer.
    """
    last = ledger.recent(1)
    for folder in _days(last[0]["planned_at"]) if last else [""]:
        files = sink.files(folder)
        while page := dict(islice(files, _PAGE)):
            for split_id in sorted(ledger.unplanned(list(page))):
                receipt = sink.receipt_of(page[split_id])
                if receipt is not None and receipt.source in sources:
                    raise Fatal(
                        f"the output holds {page[split_id]} of source {receipt.source} and the ledger never planned it: "
                        "the ledger is older than its output, and going on would deliver records twice; put back a "
                        "newer ledger, or let `stream-infer rebuild` make it anew from the files"
                    )


def _days(since: float) -> Iterator[str]:
    """Folders of the days from the day before a time to tomorrow: another host's clock may be ahead."""
    day = datetime.fromtimestamp(since, UTC).date() - timedelta(days=1)
    last: date = datetime.now(UTC).date() + timedelta(days=1)
    while day <= last:
        yield f"date={day}"
        day += timedelta(days=1)
