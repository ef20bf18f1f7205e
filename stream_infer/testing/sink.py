"""The suite of sinks: the first file that takes a name wins, for ever, with its receipt inside."""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import pyarrow as pa

from stream_infer.contracts import Sink
from stream_infer.records import OUTPUT_FIELDS
from stream_infer.splits import Loss, Receipt, Reject, Split
from stream_infer.testing.checks import require

_FOLDER: Final = "date=2026-01-01"
_WRITERS: Final = 16


def check_sink(make: Callable[[], Sink]) -> None:
    """Hold a sink against the promises of `contracts.Sink`.

    Args:
        make: builds a sink over a place of its own, empty each time.

    Raises:
        AssertionError: a promise is broken; the sentence says which.
    """
    for check in (
        _first_write_wins,
        _many_writers_make_one_file,
        _write_and_retirement_exclude_each_other,
        _retired_name_is_never_written,
        _written_file_is_never_retired,
        _no_rows_need_no_file,
        _receipt_comes_back_whole,
        _files_are_listed_by_folder,
        _listing_shows_whole_files_only,
        _pickled_sink_sees_the_same_files,
    ):
        check(make())


def output_rows(split: Split, count: int) -> pa.Table:
    """Rows as `write` hands them over: the output's columns, then one of a model."""
    fixed = {"source": split.source, "processed_at": datetime.now(UTC), "split_id": split.split_id, "model": "m@1"}
    rows = [{**fixed, "record_id": f"{split.split_id}/{number}", "answer": str(number)} for number in range(count)]
    return pa.Table.from_pylist(rows, schema=pa.schema([*OUTPUT_FIELDS, pa.field("answer", pa.string())]))


def new_split(folder: str = _FOLDER) -> Split:
    """A split that no other is equal to."""
    return Split.of("checked", {"n": uuid.uuid4().hex}, folder=folder, records=1, bytes=1)


def _write(sink: Sink, split: Split, attempt: int = 1, rows: int = 1) -> Receipt:
    receipt = Receipt(split.split_id, split.source, attempt, split.bounds, model="m@1")
    return sink.write(split, output_rows(split, rows), receipt)


def _first_write_wins(sink: Sink) -> None:
    split = new_split()
    require(sink.find(split) is None, "find() gives a receipt for a split that was never written")
    first = _write(sink, split, attempt=1, rows=3)
    second = _write(sink, split, attempt=2, rows=5)
    require((first.attempt, first.rows) == (1, 3), "write() does not give back the receipt of what it wrote")
    require(first.file is not None, "write() gives back a receipt that names no file")
    require(second == first, "a second write() of a split does not adopt the receipt of the file that is there")
    require(sink.find(split) == first, "find() does not give the receipt that write() gave")
    require(list(sink.receipts()) == [first], "receipts() does not list the one file as it was written")


def _many_writers_make_one_file(sink: Sink) -> None:
    split = new_split()
    with ThreadPoolExecutor(_WRITERS) as pool:
        receipts = list(pool.map(lambda attempt: _write(sink, split, attempt), range(_WRITERS)))
    winners = {receipt.attempt for receipt in receipts}
    require(len(winners) == 1, f"{_WRITERS} writers at once got receipts of {len(winners)} attempts: one file must win")
    require(sink.find(split) == receipts[0], "the file is not that of the receipt that all writers got")
    require(len(list(sink.receipts())) == 1, "writers at once left more than one file of a split")


def _write_and_retirement_exclude_each_other(sink: Sink) -> None:
    for _ in range(8):
        split = new_split()
        with ThreadPoolExecutor(8) as pool:
            writes = [pool.submit(_write, sink, split, attempt) for attempt in range(4)]
            retirements = [pool.submit(sink.retire, split) for _ in range(4)]
        winner = sink.find(split)
        if winner is None:
            raise AssertionError("neither a write() nor a retire() at the same time took the name")
        require(
            all(write.result() == winner for write in writes),
            "a write() that raced with a retire() reports something else than the file that is there",
        )
        answer = None if winner.retired else winner
        require(
            all(retirement.result() == answer for retirement in retirements),
            "a retire() that raced with a write() reports something else than the file that is there",
        )


def _retired_name_is_never_written(sink: Sink) -> None:
    split = new_split()
    require(sink.retire(split) is None, "retire() of a free name gives a receipt")
    require(sink.retire(split) is None, "retire() of a retired name gives a receipt")
    require(_write(sink, split).retired, "write() does not adopt the receipt of a retired name")
    existing = sink.find(split)
    require(existing is not None and existing.retired, "find() does not say that a name is retired")
    require(existing is not None and existing.rows == 0, "a late write() put rows under a retired name")


def _written_file_is_never_retired(sink: Sink) -> None:
    split = new_split()
    written = _write(sink, split)
    require(sink.retire(split) == written, "retire() of a written split does not give the receipt of its file")
    require(sink.find(split) == written, "retire() replaced a written file")


def _no_rows_need_no_file(sink: Sink) -> None:
    split = new_split()
    receipt = _write(sink, split, rows=0)
    require(receipt.file is None, "write() of no rows gives a receipt that names a file")
    require(list(sink.receipts()) == [], "write() of no rows left a file")
    other = new_split()
    written = _write(sink, other, attempt=1, rows=2)
    require(_write(sink, other, attempt=2, rows=0) == written, "write() of no rows does not adopt the file of before")


def _receipt_comes_back_whole(sink: Sink) -> None:
    split = new_split()
    reject = Reject("r/1", "checked", "infer", "ValueError", "ünï \u2028 0", 1, 5.0)
    receipt = Receipt(
        split.split_id, split.source, 3, split.bounds, rejects=(reject,), losses=(Loss("r/2", "checked", "expired", 7),)
    )
    receipt = replace(receipt, received=9, bytes_in=11, seconds={"read": 0.5}, cost=2.5, padding=0.25, model="m@1")
    written = sink.write(split, output_rows(split, 1), receipt)
    kept = replace(written, file=None, rows=0, bytes_out=0, written_at=0.0)
    require(kept == receipt, "write() changed fields of the receipt that are not its own (file, rows, bytes, time)")
    require(sink.find(split) == written, "find() does not give the whole receipt back")


def _files_are_listed_by_folder(sink: Sink) -> None:
    splits = [new_split(folder) for folder in (_FOLDER, _FOLDER, "date=2026-01-02")]
    files = {split.split_id: _write(sink, split).file for split in splits}
    require(dict(sink.files("")) == files, 'files("") does not list every file with its split')
    first = {split.split_id: files[split.split_id] for split in splits[:2]}
    require(dict(sink.files(_FOLDER)) == first, "files(FOLDER) does not list the files of that folder alone")
    for split in splits:
        require(
            sink.receipt_of(files[split.split_id] or "") == sink.find(split),
            "receipt_of(FILE) does not give the receipt that find() gives",
        )
    require(sink.receipt_of(f"{_FOLDER}/{'0' * 32}.none") is None, "receipt_of() gives a receipt for a missing file")


def _listing_shows_whole_files_only(sink: Sink) -> None:
    splits = [new_split() for _ in range(20)]
    with ThreadPoolExecutor(4) as pool:
        writes: Sequence[Future[Receipt]] = [pool.submit(_write, sink, split, rows=3) for split in splits]
        while not all(write.done() for write in writes):
            for receipt in sink.receipts():
                require(receipt.rows == 3, "receipts() shows a file that is not whole while it is written")
        wait(writes)
    listed = {receipt.split_id for receipt in sink.receipts()}
    require(listed == {split.split_id for split in splits}, "receipts() does not list every file")


def _pickled_sink_sees_the_same_files(sink: Sink) -> None:
    split = new_split()
    written = _write(sink, split)
    copy: Sink = pickle.loads(pickle.dumps(sink))
    require(copy.find(split) == written, "a pickled copy of the sink does not see its files; workers get such copies")
    require(_write(copy, split, attempt=2) == written, "a pickled copy of the sink writes over its files")
