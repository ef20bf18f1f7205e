"""One bar chart as SVG, readable on a light and on a dark page."""

from __future__ import annotations

from xml.sax.saxutils import escape

from benchmarks.results import Result

_WIDTH, _LEFT, _BAR, _GAP = 780, 280, 22, 10
_STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#222}.o{fill:#0b7a75}.p{fill:#9aa5b1}"
    "@media(prefers-color-scheme:dark){text{fill:#eee}.o{fill:#2ec4b6}.p{fill:#66717d}}"
)


def bar_chart(result: Result) -> str:
    """The row's bars; ours, every bar whose label begins with ``stream-infer``, in colour."""
    most = max(result.bars.values(), default=1.0) or 1.0
    height = 40 + len(result.bars) * (_BAR + _GAP)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{escape(result.title)}</title><style>{_STYLE}</style>",
        f'<text x="0" y="18" font-weight="bold">{escape(result.title)} ({escape(result.unit)})</text>',
    ]
    for number, (label, value) in enumerate(result.bars.items()):
        top = 34 + number * (_BAR + _GAP)
        length = max(1.0, (_WIDTH - _LEFT - 90) * value / most)
        kind = "o" if label.startswith("stream-infer") else "p"
        lines += [
            f'<text x="{_LEFT - 8}" y="{top + 16}" text-anchor="end">{escape(label)}</text>',
            f'<rect class="{kind}" x="{_LEFT}" y="{top}" width="{length:.1f}" height="{_BAR}" rx="3"/>',
            f'<text x="{_LEFT + length + 6:.1f}" y="{top + 16}">{_shown(value)}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
