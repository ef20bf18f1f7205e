"""The suite of readers: every record of a split once, the same at every attempt, in every process."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from stream_infer.contracts import Piece, Reader, joined
from stream_infer.records import RECORD_FIELDS, RESERVED
from stream_infer.splits import Split
from stream_infer.testing.checks import require


@dataclass(frozen=True, slots=True)
class CheckedSplit:
    """A split and what there is to read of it.

    Attributes:
        record_ids: coordinates of its records in order, those that the reader rejects or names as lost among them.
        parts: splits that hold the same records between them, such as the halves of a bisection.
    """

    reader: Reader
    split: Split
    record_ids: Sequence[str]
    parts: Sequence[Split] = ()


def check_reader(make: Callable[[], CheckedSplit]) -> None:
    """Hold a reader against the promises of `contracts.Reader`.

    Args:
        make: gives a reader that has read nothing yet, with a split of two records or more.

    Raises:
        AssertionError: a promise is broken; the sentence says which.
    """
    for check in (
        _every_record_comes_once,
        _tables_start_with_provenance,
        _another_attempt_reads_the_same,
        _pickled_reader_reads_the_same,
        _parts_hold_the_whole,
        _original_of_a_reject_is_cut_to_size,
    ):
        check(make())


def ids_of(pieces: Sequence[Piece]) -> list[str]:
    """Coordinates of the rows, then of the rejects and of the losses."""
    whole = joined(list(pieces))
    rows = whole.table.column("record_id").to_pylist() if whole.table.num_columns else []
    return [*rows, *(reject.record_id for reject in whole.rejects), *(loss.record_id for loss in whole.losses)]


def _every_record_comes_once(case: CheckedSplit) -> None:
    pieces = list(case.reader.read(case.split))
    counts = Counter(ids_of(pieces))
    missing = [record_id for record_id in case.record_ids if not counts[record_id]]
    require(
        not missing, f"read() leaves out {missing[:1]} and {max(0, len(missing) - 1)} more, with no reject and no loss"
    )
    twice = [record_id for record_id, count in counts.items() if count > 1]
    require(not twice, f"read() gives {twice[:1]} twice")
    surplus = counts.keys() - set(case.record_ids)
    require(not surplus, f"read() gives {sorted(surplus)[:1]}, which is not of the split")
    rows = ids_of([Piece(piece.table) for piece in pieces])
    require(rows == [record_id for record_id in case.record_ids if record_id in set(rows)], "rows are not in order")
    require(not rows or sum(piece.bytes for piece in pieces) > 0, "Piece.bytes counts nothing of what was read")
    require(all(reject.stage == "read" for piece in pieces for reject in piece.rejects), "a reject's stage is not read")


def _tables_start_with_provenance(case: CheckedSplit) -> None:
    names = [field.name for field in RECORD_FIELDS]
    for piece in case.reader.read(case.split):
        if not piece.table.num_columns:
            continue
        schema = piece.table.schema
        require(schema.names[: len(names)] == names, f"a table does not start with {', '.join(names)}")
        for field in RECORD_FIELDS:
            require(schema.field(field.name).type == field.type, f"column {field.name} is not {field.type}")
        reserved = RESERVED & set(schema.names[len(names) :])
        require(not reserved, f"content column {sorted(reserved)[:1]} has the name of an output column")
        require(set(piece.table.column("source").to_pylist()) == {case.split.source}, "source is not the split's")


def _another_attempt_reads_the_same(case: CheckedSplit) -> None:
    abandoned = iter(case.reader.read(case.split))
    next(abandoned, None)
    del abandoned  # as after an error behind the first piece
    first, second = _read(case.reader, case.split), _read(case.reader, case.split)
    require(first == second, "another attempt of the same split reads something else")
    require(Counter(first[1]) == Counter(case.record_ids), "an attempt after one that broke off reads less")


def _pickled_reader_reads_the_same(case: CheckedSplit) -> None:
    before = _read(pickle.loads(pickle.dumps(case.reader)), case.split)
    require(
        before == _read(case.reader, case.split), "a pickled copy of the reader reads something else; workers get it"
    )
    after = _read(pickle.loads(pickle.dumps(case.reader)), case.split)
    require(before == after, "a reader that has read cannot be pickled and read again")


def _parts_hold_the_whole(case: CheckedSplit) -> None:
    if case.parts:
        read = [record_id for part in case.parts for record_id in ids_of(list(case.reader.read(part)))]
        require(Counter(read) == Counter(case.record_ids), "the parts of a split do not hold its records between them")


def _original_of_a_reject_is_cut_to_size(case: CheckedSplit) -> None:
    for reject in joined(list(case.reader.read(case.split))).rejects:
        original = case.reader.original(case.split, reject, 1)
        value = original.value or b""
        require(len(value) <= 1, "original() gives more bytes of a value than were asked for")
        whole = case.reader.original(case.split, reject, 2**20)
        require((whole.value or b"").startswith(value), "original() does not give the start of the value")
        cut = len(whole.value or b"") > 1
        require(not cut or original.missing is not None, "original() does not say that a value is cut")


def _read(reader: Reader, split: Split) -> tuple[pa.Table, list[str]]:
    pieces = list(reader.read(split))
    return joined(pieces).table, ids_of(pieces)
