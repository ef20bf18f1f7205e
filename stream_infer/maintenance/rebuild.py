"""Rebuild of a lost ledger from the receipts in the output files, so that the service goes on with nothing twice.

The records of a receipt are final. Records between receipts (a split without a row has no file, one in flight has none
yet) are planned again. Rejects and losses of splits without a file come back as their records are read again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from stream_infer import crash
from stream_infer.bounds import intervals, parse, record_count, record_ids
from stream_infer.contracts import Planned, Restorable, Sink, Source, location_of
from stream_infer.errors import Fatal
from stream_infer.intervals import Intervals, IntervalSet
from stream_infer.ledger import Ledger
from stream_infer.splits import Receipt, Split

log = logging.getLogger(__name__)
T = TypeVar("T")
_GROUP = 500


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Counts of the new ledger.

    Attributes:
        committed / bisected / planned: splits with a file, splits bisected before, splits to do (again).
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
class SortedReceipts:
    """Receipts of one source by their meaning.

    Attributes:
        final: splits with rows.
        replays: splits with rows of rejects that were replayed.
        undivided: retired names of splits that were not bisected (yet); to be done again as they are.
        divided: retired names whose records are in other splits, wholly or in part.
    """

    final: list[Receipt] = field(default_factory=list)
    replays: list[Receipt] = field(default_factory=list)
    undivided: list[Receipt] = field(default_factory=list)
    divided: list[Receipt] = field(default_factory=list)


def sort_receipts(receipts: Sequence[Receipt]) -> SortedReceipts:
    """Sort the receipts of a source by their meaning, from bounds alone.

    A retired name whose records are in other files was bisected, or was replayed. Of names inside one another the inner
    one counts, and of the replays of one record the last.
    """
    result, with_rows, planned, replayed = SortedReceipts(), IntervalSet(), IntervalSet(), IntervalSet()
    for receipt in sorted((item for item in receipts if not item.retired), key=lambda item: item.written_at):
        ranges = intervals(parse(receipt.bounds))
        if receipt.replay:
            result.replays.append(receipt)
            replayed.add(ranges)
        else:
            if with_rows.touches(ranges):
                log.warning("%s: records of it are in another file as well", receipt.file)
            result.final.append(receipt)
            with_rows.add(ranges)
        planned.add(ranges)
    retired = [(intervals(parse(receipt.bounds)), receipt) for receipt in receipts if receipt.retired]
    retired.sort(key=lambda item: (-item[1].replay, _size(item[0]), item[1].split_id))
    for ranges, receipt in retired:
        if (replayed if receipt.replay else planned).touches(ranges):
            result.divided.append(receipt)
        else:
            result.undivided.append(receipt)
            replayed.add(ranges)
            planned.add(ranges)
    return result


def split_of(receipt: Receipt) -> Split:
    """The split of a receipt, as far as the receipt describes it."""
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
    """Every receipt of the output, once no file has appeared for so long: a dead instance's workers may still write."""
    receipts_by_file = _listed(sink)
    while seconds > 0:
        time.sleep(seconds)
        again = _listed(sink)
        if again.keys() == receipts_by_file.keys():
            break
        log.info("%d files appeared meanwhile; looking again", len(again) - len(receipts_by_file))
        receipts_by_file = again
    return list(receipts_by_file.values())


def rebuild(ledger: Ledger, receipts: Sequence[Receipt], sources: Sequence[Source], most: int) -> Rebuilt:
    """Fill an empty ledger that this instance owns.

    Args:
        most: records of one split that is planned between receipts.
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
    if not isinstance(source, Restorable):
        raise Fatal(f"source {source.name}: sources of its kind cannot be rebuilt; restore the ledger from a backup")
    sorted_receipts = sort_receipts(receipts)
    undivided = [_estimated(split_of(receipt)) for receipt in sorted_receipts.undivided]
    replays = [*map(split_of, sorted_receipts.replays), *(split for split in undivided if split.replay)]
    final = map(split_of, sorted_receipts.final)
    splits = [*final, *replays, *(split for split in undivided if not split.replay)]
    for plans in _groups(source.restore(splits, most)):
        ledger.plan(source.name, plans)
        crash.point("rebuild.planned")
    for group in _groups(iter(sorted_receipts.final)):
        ledger.commit(group)
        crash.point("rebuild.committed")
    location = location_of(source.reader())
    for split in replays:
        ledger.restore_replay(next(record_ids(parse(split.bounds), location)), split)
    for group in _groups(iter(sorted_receipts.replays)):
        ledger.commit(group)
    for receipt in sorted_receipts.divided:
        ledger.plan(source.name, [Planned(split_of(receipt))])
        ledger.bisect(split_of(receipt), [])
    done = [*sorted_receipts.final, *sorted_receipts.replays]
    return Rebuilt(
        committed=len(done),
        bisected=len(sorted_receipts.divided),
        rows=sum(receipt.rows for receipt in done),
        rejected=sum(len(receipt.rejects) for receipt in done),
        lost=sum(loss.records for receipt in done for loss in receipt.losses),
    )


def _estimated(split: Split) -> Split:
    return replace(split, records=max(1, record_count(parse(split.bounds))))


def _size(ranges: Intervals) -> int:
    return sum(high - low for low, high in ranges.values())


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
