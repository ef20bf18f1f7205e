"""A lost ledger, made anew from the receipts in the output files, so that the service goes on with nothing twice.

What a receipt says is final. What lies between receipts (a split without a row has no file, one in flight has none yet)
is planned again. Rejects and losses of splits without a file are found again as their records are read again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from stream_infer import crash
from stream_infer.contracts import Planned, Sink, Source
from stream_infer.intervals import END, Intervals, IntervalSet
from stream_infer.ledger import Ledger
from stream_infer.splits import Receipt, Split

log = logging.getLogger(__name__)
T = TypeVar("T")
_GROUP = 500


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What the new ledger holds.

    Attributes:
        committed / bisected / planned: splits with a file, splits divided before, splits to do (again).
        rows / rejected / lost: records of the committed ones.
        strange: files of sources that the pipeline does not name, and copies of files; left alone.
    """

    committed: int = 0
    bisected: int = 0
    planned: int = 0
    rows: int = 0
    rejected: int = 0
    lost: int = 0
    strange: int = 0


@dataclass(slots=True)
class Sorted:
    """Receipts of one source by what they mean.

    Attributes:
        final: splits with rows.
        replays: the same of rejects that were replayed.
        standing: retired names of splits that were not divided (yet); to be done again as they are.
        divided: retired names whose records stand in other splits, wholly or in part.
    """

    final: list[Receipt] = field(default_factory=list)
    replays: list[Receipt] = field(default_factory=list)
    standing: list[Receipt] = field(default_factory=list)
    divided: list[Receipt] = field(default_factory=list)


def sort_receipts(receipts: Sequence[Receipt], intervals: Callable[[Split], Intervals]) -> Sorted:
    """What each receipt of a source means, from bounds alone.

    A retired name whose records stand elsewhere was divided, or was replayed; of names inside one another the inner
    one stands, and of the replays of one record the last.
    """
    found, rows, cover, again = Sorted(), IntervalSet(), IntervalSet(), IntervalSet()
    for receipt in sorted((item for item in receipts if not item.retired), key=lambda item: item.written_at):
        covers = intervals(split_of(receipt))
        if "replay" in receipt.bounds:
            found.replays.append(receipt)
            again.add(covers)
        else:
            if rows.touches(covers):
                log.warning("%s: records of it stand in another file as well", receipt.file)
            found.final.append(receipt)
            rows.add(covers)
        cover.add(covers)
    retired = [(intervals(split_of(receipt)), receipt) for receipt in receipts if receipt.retired]
    retired.sort(key=lambda item: (-split_of(item[1]).replay, _size(item[0]), item[1].split_id))
    for covers, receipt in retired:
        where = again if "replay" in receipt.bounds else cover
        if where.touches(covers):
            found.divided.append(receipt)
        else:
            found.standing.append(receipt)
            again.add(covers)
            cover.add(covers)
    return found


def split_of(receipt: Receipt) -> Split:
    """The split that a receipt is of, as far as the receipt knows it."""
    folder = (receipt.file or "").rpartition("/")[0]
    return Split(
        receipt.split_id,
        receipt.source,
        receipt.bounds,
        folder,
        records=receipt.records,
        bytes=receipt.bytes_in,
        planned_at=receipt.written_at,
        trace_id=receipt.split_id,
    )


def settled(sink: Sink, seconds: float) -> list[Receipt]:
    """Every receipt of the output, once no file has appeared for so long: what a dead instance left may still be written."""
    found = _listed(sink)
    while seconds > 0:
        time.sleep(seconds)
        again = _listed(sink)
        if again.keys() == found.keys():
            break
        log.info("%d files appeared meanwhile; looking again", len(again) - len(found))
        found = again
    return list(found.values())


def rebuild(ledger: Ledger, receipts: Sequence[Receipt], sources: Sequence[Source], most: int) -> Rebuilt:
    """Fill an empty ledger that this instance owns.

    Args:
        most: records of one split that is planned for what lies between receipts.
    """
    by_source: dict[str, list[Receipt]] = {source.name: [] for source in sources}
    strange = 0
    for receipt in receipts:
        if receipt.source in by_source and "@" not in receipt.split_id:
            by_source[receipt.source].append(receipt)
        else:
            strange += 1
            log.warning(
                "%s: a copy, or of source %s, which is not named; it is left alone", receipt.file, receipt.source
            )
    result = Rebuilt(strange=strange)
    for source in sources:
        result = _sum(result, _rebuild_source(ledger, source, by_source[source.name], most))
    crash.point("rebuild.filled")
    return replace(result, planned=len(ledger.unfinished()))


def _rebuild_source(ledger: Ledger, source: Source, receipts: Sequence[Receipt], most: int) -> Rebuilt:
    means = sort_receipts(receipts, source.intervals)
    standing = [_estimated(split_of(receipt), source) for receipt in means.standing]
    replays = [*map(split_of, means.replays), *(split for split in standing if split.replay)]
    known = [*map(split_of, means.final), *replays, *(split for split in standing if not split.replay)]
    for steps in _groups(source.restore(known, most)):
        ledger.plan(source.name, steps)
        crash.point("rebuild.planned")
    for group in _groups(iter(means.final)):
        ledger.commit(group)
        crash.point("rebuild.committed")
    for split in replays:
        ledger.restore_replay(next(iter(source.record_ids(split))), split)
    for group in _groups(iter(means.replays)):
        ledger.commit(group)
    for receipt in means.divided:
        ledger.plan(source.name, [Planned(split_of(receipt))])
        ledger.bisect(split_of(receipt), [])
    done = [*means.final, *means.replays]
    return Rebuilt(
        committed=len(done),
        bisected=len(means.divided),
        rows=sum(receipt.rows for receipt in done),
        rejected=sum(len(receipt.rejects) for receipt in done),
        lost=sum(loss.records for receipt in done for loss in receipt.losses),
    )


def _estimated(split: Split, source: Source) -> Split:
    intervals = source.intervals(split)
    return replace(split, records=max(1, sum(1 if high == END else high - low for low, high in intervals.values())))


def _size(intervals: Intervals) -> int:
    return sum(high - low for low, high in intervals.values())


def _listed(sink: Sink) -> dict[str, Receipt]:
    return {f"{receipt.file}": receipt for receipt in sink.receipts()}


def _groups(items: Iterator[T]) -> Iterator[list[T]]:
    group: list[T] = []
    for item in items:
        group.append(item)
        if len(group) == _GROUP:
            yield group
            group = []
    if group:
        yield group


def _sum(one: Rebuilt, other: Rebuilt) -> Rebuilt:
    names = Rebuilt.__dataclass_fields__
    return Rebuilt(**{name: getattr(one, name) + getattr(other, name) for name in names})
