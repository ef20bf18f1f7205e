"""Bisection of a split that kills its workers into smaller splits."""

from __future__ import annotations

from dataclasses import replace

from stream_infer.attempts import HALVINGS
from stream_infer.contracts import Source
from stream_infer.splits import Split


def pieces(source: Source, split: Split) -> list[Split]:
    """The split in up to 16 pieces; empty when it holds one record.

    A replay is never divided: it stands for one reject, which stays one.
    """
    if split.replay:
        return []
    found = [split]
    for _ in range(HALVINGS):
        halved = [source.bisect(piece) for piece in found]
        found = [half for piece, halves in zip(found, halved, strict=True) for half in (halves or (piece,))]
    if found == [split]:
        return []
    return [replace(piece, parent=split.split_id, depth=split.depth + 1) for piece in found]
