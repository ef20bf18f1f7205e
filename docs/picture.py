"""The picture of docs/architecture.md: processes, threads, and the numbered way of a record through them."""

from __future__ import annotations

from html import escape
from typing import Final, NamedTuple

_WIDTH, _HEIGHT = 1060, 620
_STYLE: Final = """
  svg { --paper: #ffffff; --ink: #1f2328; --soft: #59636e; --line: #8c959f; --fill: #f6f8fa; --room: #ffffff; --accent: #0969da; }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #0d1117; --ink: #e6edf3; --soft: #9198a1; --line: #6e7681; --fill: #161b22; --room: #0d1117; --accent: #4493f8; }
  }
  text { font-family: system-ui, sans-serif; font-size: 13px; fill: var(--ink); }
  .title { font-weight: 600; }
  .soft { font-size: 12px; fill: var(--soft); }
  .number { font-size: 12px; font-weight: 600; fill: var(--paper); text-anchor: middle; }
  .box { fill: var(--fill); stroke: var(--line); }
  .process { fill: var(--room); stroke: var(--ink); stroke-width: 1.5; }
  .data { fill: var(--room); stroke: var(--line); stroke-dasharray: 4 3; }
  .arrow { fill: none; stroke: var(--accent); stroke-width: 1.6; marker-end: url(#head); }
  .dot { fill: var(--accent); }
  .head { fill: var(--accent); }
"""


class Box(NamedTuple):
    """A rectangle with a title and lines of text. ``kind`` is a class of the style."""

    kind: str
    x: int
    y: int
    width: int
    height: int
    title: str
    lines: tuple[str, ...] = ()


class Arrow(NamedTuple):
    """A hop of a record: its number, where the number stands, and the corners of the line."""

    number: str
    at: tuple[int, int]
    points: tuple[tuple[int, int], ...]


BOXES: Final = (
    Box("box", 20, 70, 150, 84, "inputs", ("Kafka topics,", "buckets, folders")),
    Box("process", 230, 30, 430, 430, "driver process: stream-infer run"),
    Box("box", 250, 70, 180, 84, "planner-NAME", ("one thread a source:", "plan, store, acknowledge")),
    Box("data", 470, 70, 170, 64, "backlog", ("waiting and in flight,", "within a byte budget")),
    Box("box", 470, 185, 170, 84, "main thread", ("supervisor: admit,", "rotate, drain")),
    Box("box", 470, 330, 170, 64, "execution-N", ("thread: collect outcomes",)),
    Box("box", 250, 330, 180, 64, "committer", ("thread: settle outcomes",)),
    Box("box", 250, 185, 180, 84, "beside them", ("heartbeat, rejects-TARGET,", "watch, http, traces", "(threads)")),
    Box("process", 720, 30, 320, 430, "Ray worker processes"),
    Box("box", 740, 70, 280, 54, "attempt tracker", ("one per execution: who died of which split",)),
    Box("box", 740, 160, 280, 64, "read", ("fetch, decode, preprocess, prepare (CPU)",)),
    Box("box", 740, 260, 280, 64, "infer", ("micro-batches through the model",)),
    Box("box", 740, 360, 280, 64, "write", ("create the split's file, receipt inside",)),
    Box(
        "box",
        250,
        520,
        240,
        70,
        "ledger",
        ("SQLite or PostgreSQL: planned splits,", "receipts, rejects, positions, epoch"),
    ),
    Box("box", 760, 520, 240, 70, "output store", ("Parquet files, each created once,", "each with its receipt")),
)
ARROWS: Final = (
    Arrow("1", (200, 90), ((170, 90), (248, 90))),
    Arrow("2", (240, 480), ((250, 142), (240, 142), (240, 552), (248, 552))),
    Arrow("3", (450, 92), ((430, 92), (468, 92))),
    Arrow("4", (555, 160), ((555, 134), (555, 183))),
    Arrow("5", (690, 205), ((640, 205), (738, 205))),
    Arrow("6", (690, 15), ((95, 70), (95, 15), (1050, 15), (1050, 185), (1022, 185))),
    Arrow("7", (880, 242), ((880, 224), (880, 258))),
    Arrow("7", (880, 342), ((880, 324), (880, 358))),
    Arrow("8", (880, 480), ((880, 424), (880, 518))),
    Arrow("9", (690, 377), ((740, 377), (642, 377))),
    Arrow("10", (450, 362), ((470, 362), (432, 362))),
    Arrow("11", (340, 490), ((340, 394), (340, 518))),
    Arrow("12", (200, 118), ((250, 118), (172, 118))),
)


def svg() -> str:
    """The picture as an SVG file that follows the reader's light or dark scheme."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'aria-label="Processes, threads and the way of a record">',
        f"<style>{_STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path class="head" d="M0 0 L8 4 L0 8 z"/></marker></defs>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" style="fill: var(--paper)"/>',
        *map(_box, BOXES),
        *map(_line, ARROWS),
        *map(_number, ARROWS),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _box(box: Box) -> str:
    texts = [f'<text class="title" x="{box.x + 12}" y="{box.y + 22}">{escape(box.title)}</text>']
    for index, line in enumerate(box.lines):
        texts.append(f'<text class="soft" x="{box.x + 12}" y="{box.y + 41 + 17 * index}">{escape(line)}</text>')
    frame = f'x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}"'
    return f'<rect class="{box.kind}" {frame} rx="6"/>' + "".join(texts)


def _line(arrow: Arrow) -> str:
    (x, y), *others = arrow.points
    corners = " ".join(f"L{right} {down}" for right, down in others)
    return f'<path class="arrow" d="M{x} {y} {corners}"/>'


def _number(arrow: Arrow) -> str:
    x, y = arrow.at
    return (
        f'<circle class="dot" cx="{x}" cy="{y}" r="10"/><text class="number" x="{x}" y="{y + 4}">{arrow.number}</text>'
    )
