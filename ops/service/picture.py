"""The pipeline as a picture: where each box and arrow of it stands. The template draws them.

Two layouts of one picture: ``wide`` flows to the right, ``tall`` flows down for a narrow screen. Units are those of the
SVG's view box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from stream_infer.ops.watch.snapshot import Snapshot, Source, Stage

Layout = Literal["wide", "tall"]
STAGES = ("read", "infer", "write")
_SHOWN = 4  # sources drawn; more are counted
_GAP = 54
_WIDTH = {"source": 224, "stage": 192, "sink": 176}
_HEIGHT = {"source": 86, "stage": 158, "sink": 118}
_TALL = 340  # width of the tall picture
_BETWEEN = 14  # sources
_POOL = 15  # from a pool's frame to its boxes
_NAMED, _MARKED = 26, 12  # room above for a pool's name, for the bottleneck's mark


@dataclass(frozen=True, slots=True)
class Box:
    """A box with what it shows; one of ``source``, ``stage``, ``more`` and the sink (neither) is set."""

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
    """A line between two boxes; ``moves`` while records flow along it."""

    path: str
    moves: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything to draw. ``pool`` frames the stages that share one pool of actors."""

    layout: Layout
    width: float
    height: float
    sources: list[Box]
    stages: list[Box]
    sink: Box
    arrows: list[Arrow]
    pool: Box | None


def drawn(snapshot: Snapshot, layout: Layout) -> Picture:
    """The picture of a snapshot."""
    shown = snapshot.sources[:_SHOWN]
    more = len(snapshot.sources) - len(shown)
    stages = [snapshot.stage(name) or Stage(name=name) for name in STAGES]
    place = _wide if layout == "wide" else _tall
    return place(snapshot, shown, more, stages)


def _wide(snapshot: Snapshot, shown: Sequence[Source], more: int, stages: Sequence[Stage]) -> Picture:
    step = _HEIGHT["source"] + _BETWEEN
    column = len(shown) * step - _BETWEEN + (26 if more else 0)
    above, round_stages = (_NAMED, 2 * _POOL) if snapshot.fused else (_MARKED, 0)
    height = max(column, _HEIGHT["stage"] + round_stages) + above
    middle = above + (height - above) / 2
    top = middle - column / 2
    sources = [
        Box(0, top + at * step, _WIDTH["source"], _HEIGHT["source"], source=source) for at, source in enumerate(shown)
    ]
    if more:
        sources.append(Box(0, top + len(shown) * step - 4, _WIDTH["source"], 26, more=more))
    x = _WIDTH["source"] + _GAP + _POOL
    boxes = []
    for stage in stages:
        y = middle - _HEIGHT["stage"] / 2
        marked = stage.name == snapshot.bottleneck
        boxes.append(Box(x, y, _WIDTH["stage"], _HEIGHT["stage"], stage=stage, marked=marked))
        x += _WIDTH["stage"] + _GAP
    sink = Box(x + _POOL, middle - _HEIGHT["sink"] / 2, _WIDTH["sink"], _HEIGHT["sink"])
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
    """From a source that is not the last one: past those below it on the left into the first stage."""
    start, end, edge = box.y + box.height / 2, first.y + 20, box.x - 11
    path = f"M{box.x - 2:g} {start:g} H{edge + 8:g} Q{edge:g} {start:g} {edge:g} {start + 8:g} V{end - 8:g}"
    moves = box.source is not None and box.source.records_per_second > 0
    return Arrow(f"{path} Q{edge:g} {end:g} {edge + 8:g} {end:g} H{first.x - 7:g}", moves)


def _pool(snapshot: Snapshot, boxes: Sequence[Box]) -> Box | None:
    if not snapshot.fused:
        return None
    first, last = boxes[0], boxes[-1]
    width, height = last.x + last.width - first.x, last.y + last.height - first.y
    return Box(first.x - _POOL, first.y - _POOL, width + 2 * _POOL, height + 2 * _POOL)


def _right(box: Box) -> tuple[float, float]:
    return box.x + box.width + 2, box.y + box.height / 2


def _left(box: Box) -> tuple[float, float]:
    return box.x - 9, box.y + box.height / 2


def _sideways(start: tuple[float, float], end: tuple[float, float]) -> str:
    """A soft curve that leaves and arrives level."""
    (x, y), (to_x, to_y) = start, end
    if abs(y - to_y) < 0.5:
        return f"M{x:g} {y:g} H{to_x:g}"
    middle = (x + to_x) / 2
    return f"M{x:g} {y:g} C{middle:g} {y:g} {middle:g} {to_y:g} {to_x:g} {to_y:g}"
