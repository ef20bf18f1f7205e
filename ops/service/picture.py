"""The pipeline as a picture: the position of each box and arrow, for the template.

One picture in two orientations: ``wide`` flows to the right, ``tall`` flows down for a narrow screen. Units are those of the
SVG's view box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from stream_infer.ops.watch.snapshot import Snapshot, Source, Stage

Orientation = Literal["wide", "tall"]
STAGES = ("read", "infer", "write")
_MAX_SOURCES = 4  # drawn; the others are only counted
_GAP = 54
_WIDTH = {"source": 224, "stage": 192, "sink": 176}
_HEIGHT = {"source": 86, "stage": 158, "sink": 118}
_TALL = 340  # width of the tall picture
_SOURCE_GAP = 14  # between sources
_POOL_PADDING = 15  # between a pool's frame and its boxes
_POOL_NAME, _MARK = 26, 12  # space above for a pool's name, for the bottleneck's mark


@dataclass(frozen=True, slots=True)
class Box:
    """A box and its content: a ``source``, a ``stage``, the number of ``more`` sources, or none of them for the sink."""

    x: float
    y: float
    width: float
    height: float
    source: Source | None = None
    stage: Stage | None = None
    more: int = 0
    marked: bool = False

    @property
    def inner(self) -> float:
        """Width between the paddings."""
        return self.width - 32


@dataclass(frozen=True, slots=True)
class Arrow:
    """A line between two boxes; ``moves`` is true while records flow along it."""

    path: str
    moves: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """All shapes. ``pool`` is the frame around stages that share one pool of actors."""

    orientation: Orientation
    width: float
    height: float
    sources: list[Box]
    stages: list[Box]
    sink: Box
    arrows: list[Arrow]
    pool: Box | None


def draw(snapshot: Snapshot, orientation: Orientation) -> Picture:
    """Draw the picture of a snapshot."""
    shown = snapshot.sources[:_MAX_SOURCES]
    more = len(snapshot.sources) - len(shown)
    stages = [snapshot.stage(name) or Stage(name=name) for name in STAGES]
    arrange = _wide if orientation == "wide" else _tall
    return arrange(snapshot, shown, more, stages)


def _wide(snapshot: Snapshot, shown: Sequence[Source], more: int, stages: Sequence[Stage]) -> Picture:
    pitch = _HEIGHT["source"] + _SOURCE_GAP
    column = len(shown) * pitch - _SOURCE_GAP + (26 if more else 0)
    above, round_stages = (_POOL_NAME, 2 * _POOL_PADDING) if snapshot.fused else (_MARK, 0)
    height = max(column, _HEIGHT["stage"] + round_stages) + above
    middle = above + (height - above) / 2
    top = middle - column / 2
    sources = [
        Box(0, top + at * pitch, _WIDTH["source"], _HEIGHT["source"], source=source) for at, source in enumerate(shown)
    ]
    if more:
        sources.append(Box(0, top + len(shown) * pitch - 4, _WIDTH["source"], 26, more=more))
    x = _WIDTH["source"] + _GAP + _POOL_PADDING
    boxes = []
    for stage in stages:
        y = middle - _HEIGHT["stage"] / 2
        marked = stage.name == snapshot.bottleneck
        boxes.append(Box(x, y, _WIDTH["stage"], _HEIGHT["stage"], stage=stage, marked=marked))
        x += _WIDTH["stage"] + _GAP
    sink = Box(x + _POOL_PADDING, middle - _HEIGHT["sink"] / 2, _WIDTH["sink"], _HEIGHT["sink"])
    arrows = [
        Arrow(_sideways(_right(box), _left(boxes[0])), box.source.records_per_second > 0)
        for box in sources
        if box.source is not None
    ]
    arrows += [
        Arrow(_sideways(_right(one), _left(other)), snapshot.recent.records_per_second > 0)
        for one, other in zip(boxes, [*boxes[1:], sink], strict=True)
    ]
    return Picture("wide", sink.x + sink.width, height, sources, boxes, sink, arrows, _pool(snapshot, boxes))


def _tall(snapshot: Snapshot, shown: Sequence[Source], more: int, stages: Sequence[Stage]) -> Picture:
    left, width, y = 20.0, _TALL - 40.0, 2.0
    sources = []
    for source in shown:
        sources.append(Box(left, y, width, _HEIGHT["source"], source=source))
        y += _HEIGHT["source"] + 10
    if more:
        sources.append(Box(left, y - 4, width, 26, more=more))
        y += 24
    y += 30
    boxes = []
    for stage in stages:
        marked = stage.name == snapshot.bottleneck
        boxes.append(Box(left, y, width, _HEIGHT["stage"], stage=stage, marked=marked))
        y += _HEIGHT["stage"] + 36
    sink = Box(left, y, width, _HEIGHT["sink"])
    chain = [sources[-1], *boxes, sink]
    moves = snapshot.recent.records_per_second > 0
    arrows = [
        Arrow(f"M{_TALL / 2:g} {one.y + one.height + 2:g} V{other.y - 9:g}", moves) for one, other in pairwise(chain)
    ]
    arrows += [_beside(box, boxes[0]) for box in sources[:-1]]
    return Picture("tall", _TALL, y + sink.height + 2, sources, boxes, sink, arrows, _pool(snapshot, boxes))


def _beside(box: Box, first: Box) -> Arrow:
    """An arrow from a source that is not the last one: on the left past the sources below it, into the first stage."""
    start, end, edge = box.y + box.height / 2, first.y + 20, box.x - 11
    path = f"M{box.x - 2:g} {start:g} H{edge + 8:g} Q{edge:g} {start:g} {edge:g} {start + 8:g} V{end - 8:g}"
    moves = box.source is not None and box.source.records_per_second > 0
    return Arrow(f"{path} Q{edge:g} {end:g} {edge + 8:g} {end:g} H{first.x - 7:g}", moves)


def _pool(snapshot: Snapshot, boxes: Sequence[Box]) -> Box | None:
    if not snapshot.fused:
        return None
    first, last = boxes[0], boxes[-1]
    width, height = last.x + last.width - first.x, last.y + last.height - first.y
    return Box(first.x - _POOL_PADDING, first.y - _POOL_PADDING, width + 2 * _POOL_PADDING, height + 2 * _POOL_PADDING)


def _right(box: Box) -> tuple[float, float]:
    return box.x + box.width + 2, box.y + box.height / 2


def _left(box: Box) -> tuple[float, float]:
    return box.x - 9, box.y + box.height / 2


def _sideways(start: tuple[float, float], end: tuple[float, float]) -> str:
    """A curve that is horizontal at both ends."""
    (x, y), (to_x, to_y) = start, end
    if abs(y - to_y) < 0.5:
        return f"M{x:g} {y:g} H{to_x:g}"
    middle = (x + to_x) / 2
    return f"M{x:g} {y:g} C{middle:g} {y:g} {middle:g} {to_y:g} {to_x:g} {to_y:g}"
