"""Bisection of a split that kills its workers into smaller splits."""

from __future__ import annotations

from dataclasses import replace

from stream_infer.attempts import HALVINGS
from stream_infer.bounds import ObjectSet, parse
from stream_infer.contracts import ObjectReader, Reader
from stream_infer.driver.row_count import count_apart
from stream_infer.splits import Split


def pieces(split: Split, reader: Reader) -> list[Split]:
    """The split in up to 16 pieces; empty when it holds one record.

    A replay is never bisected: it is of one reject, which stays one.

    Raises:
        Retryable: the store did not answer while an object's rows were counted.
    """
    if split.replay:
        return []
    divided = [split]
    for _ in range(HALVINGS):
        halved = [piece.halves(_rows(piece, reader)) for piece in divided]
        divided = [half for piece, halves in zip(divided, halved, strict=True) for half in (halves or (piece,))]
    if divided == [split]:
        return []
    return [replace(piece, parent=split.split_id, depth=split.depth + 1) for piece in divided]


def _rows(split: Split, reader: Reader) -> int | None:
    """Rows of a split's only object if its bounds lack the number; None where the object cannot be cut by rows."""
    bounds = parse(split.bounds)
    if not isinstance(bounds, ObjectSet) or bounds.rows is not None or len(bounds.objects) != 1:
        return None
    item = bounds.objects[0]
    if not isinstance(reader, ObjectReader) or reader.one_record(item.key):
        return None
    return count_apart(reader, item)
