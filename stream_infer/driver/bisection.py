"""Dividing a split that kills: into how many pieces, and after how many deaths."""

from __future__ import annotations

from dataclasses import replace

from stream_infer.contracts import Source
from stream_infer.splits import Split

_LEVELS = 4  # of halving at once: every division costs a dead worker, so few divisions are better than small ones


def pieces(source: Source, split: Split) -> list[Split]:
    """The split in up to 16 pieces; empty when it holds one record.

    A replay is never divided: it stands for one reject, which stays one.
    """
    if split.replay:
        return []
    found = [split]
    for _ in range(_LEVELS):
        halved = [source.bisect(piece) for piece in found]
        found = [half for piece, halves in zip(found, halved, strict=True) for half in (halves or (piece,))]
    if found == [split]:
        return []
    return [replace(piece, parent=split.split_id, depth=split.depth + 1) for piece in found]


def deaths_allowed(split: Split, attempts: int) -> int:
    """Deaths of workers after which the split is divided or, as a record alone, rejected.

    A record gets every attempt. A piece of a killing split is suspect: one death divides it further. A split that was
    never divided gets the attempts too, for most deaths are no record's fault, but never so many that isolating a
    record of n would cost more than ``⌈log2 n⌉ + attempts`` deaths.
    """
    if split.records <= 1 or split.replay:
        return attempts
    if split.depth:
        return 1
    halvings = (split.records - 1).bit_length()
    divisions = -(-halvings // _LEVELS)
    return min(attempts, halvings - divisions + 1)
