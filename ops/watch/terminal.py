"""The status page's picture for a terminal: stages, sources, rates and the doctor's findings."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from stream_infer.ops.watch import formatting
from stream_infer.ops.watch.snapshot import Finding, Snapshot, Source, Stage
from stream_infer.ops.watch.symptoms import outside

_COLOURS = {"bad": "red", "warn": "yellow", "info": "blue", "well": "green"}
_BARS = "▁▂▃▄▅▆▇█"
_BAR = 20  # columns of a stage's bar
_SPARK = 30
_NARROW = 76  # columns below which some columns of the tables are left out


def picture(s: Snapshot, width: int = 120) -> RenderableType:
    """One screen: verdict, stages, sources and recent rejects.

    Args:
        width: columns of the terminal; a narrow one gets fewer columns in the tables.
    """
    narrow = width < _NARROW
    parts: list[RenderableType] = [
        _head(s),
        verdict(s.findings),
        _stages(s, narrow),
        "",
        _sources(s, narrow),
        "",
        _flow(s),
    ]
    if s.rejects:
        parts += ["", _rejects(s, width)]
    return Group(*parts)


def verdict(findings: list[Finding]) -> RenderableType:
    """The doctor's findings, worst first; an advice that several share is shown once."""
    lines, advised = Table.grid(padding=(0, 1)), set[str]()
    for number, finding in enumerate(findings):
        lines.add_row(Text("●", _COLOURS[finding.severity]), Text(finding.sentence, "bold" if number == 0 else ""))
        if finding.advice and finding.advice not in advised:
            lines.add_row("", Text(f"→ {finding.advice}", "dim"))
            advised.add(finding.advice)
    return Panel(lines, border_style=_COLOURS[findings[0].severity], padding=(0, 1))


def _head(s: Snapshot) -> RenderableType:
    line = Table.grid(expand=True)
    line.add_column()
    line.add_column(justify="right")
    left = Text.assemble(
        (s.pipeline, "bold"), "  ", (s.state, "green" if s.ready else "yellow"), "  ", (s.model, "dim")
    )
    up = f"up {formatting.seconds(s.at - s.started_at)} · " if s.started_at else ""
    execution = f" · execution {s.execution}" if s.execution else ""
    line.add_row(left, Text(f"{up}epoch {s.epoch}{execution}", "dim"))
    return line


def _stages(s: Snapshot, narrow: bool) -> RenderableType:
    bar = _BAR // 2 if narrow else _BAR
    table = Table(box=None, expand=not narrow, padding=(0, 1), header_style="dim")
    table.add_column("stage", min_width=7 if narrow else 9)
    table.add_column("█ ▒" if narrow else "█ busy ▒ blocked", min_width=bar)
    for name in ("busy", "blocked") if narrow else ("busy", "blocked", "actors", "split"):
        table.add_column(name, justify="right")
    if not narrow:
        table.add_column("", ratio=1, no_wrap=True)
    for stage in s.stages:
        note = _note(s, stage)
        named = Text.assemble((stage.name, "bold"), (" ◀", note.style) if narrow and note else "")
        cells: list[RenderableType] = [formatting.percent(stage.busy), formatting.percent(stage.backpressured)]
        if not narrow:
            cells += [f"{stage.actors} of {stage.max_actors}", formatting.seconds(stage.split_seconds), note]
        table.add_row(named, _bar(stage, bar), *cells)
    return table


def _bar(stage: Stage, width: int) -> Text:
    if stage.busy is None:
        return Text("no data yet", "dim")
    busy = round(stage.busy * width)
    blocked = min(width - busy, round((stage.backpressured or 0.0) * width))
    return Text.assemble(("█" * busy, "blue"), ("▒" * blocked, "yellow"), ("·" * (width - busy - blocked), "dim"))


def _note(s: Snapshot, stage: Stage) -> Text:
    if stage.stalled:
        return Text(f"waits for {outside(stage.stall_reason or '')}", "red")
    return Text("◀ bottleneck", "yellow") if stage.name == s.bottleneck else Text()


def _sources(s: Snapshot, narrow: bool) -> RenderableType:
    table = Table(box=None, expand=True, padding=(0, 1), header_style="dim")
    table.add_column("source", ratio=1, min_width=14)
    columns = ("waiting", "to go", "rejects") if narrow else tuple(_SOURCE_COLUMNS)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for source in s.sources:
        location = "" if narrow else f"  {formatting.clipped(source.location, 40)}"
        named = Text.assemble((source.name, "bold"), (location, "dim"))
        if source.failure or source.trouble:  # the doctor shows the whole sentence
            named.append("\nstopped" if source.failure else f"\nwaits for {outside(source.trouble or '')}", "red")
        table.add_row(named, *(_SOURCE_COLUMNS[name](source) for name in columns))
    return table


def to_go(source: Source) -> str:
    """Time until nothing waits."""
    if not source.lag + source.in_flight:
        return "done"
    return "no progress" if source.eta_seconds is None else formatting.seconds(source.eta_seconds)


def _flow(s: Snapshot) -> RenderableType:
    records = s.records
    table = Table.grid(padding=(0, 2))
    flight = f"{formatting.count(s.in_flight_splits, 'split')}, {formatting.size(s.in_flight_bytes)}"
    rows = {
        "rate": Text.assemble(
            (spark(s.recent.history), "blue"), f"  {formatting.number(s.recent.records_per_second)} records/s"
        ),
        "in flight": Text(f"{flight} · a commit takes {formatting.seconds(s.recent.commit_seconds)}"),
        "records": Text(
            f"{records.planned:,} planned = {records.committed:,} rows + {records.rejected:,} rejected"
            f" + {records.lost:,} lost + {records.in_flight:,} in flight"
        ),
    }
    for name, value in rows.items():
        table.add_row(Text(f" {name}", "dim"), value)
    return table


def spark(history: list[float]) -> str:
    """The last half minute as bars of eight heights."""
    last = history[-_SPARK:]
    top = max(last, default=0.0)
    return "".join(_BARS[min(7, int(value / top * 7.99))] if top else _BARS[0] for value in last)


def _rejects(s: Snapshot, width: int) -> RenderableType:
    table = Table(box=None, expand=True, padding=(0, 1), header_style="dim")
    table.add_column("rejects", no_wrap=True, overflow="ellipsis", ratio=2)
    table.add_column("why", no_wrap=True, overflow="ellipsis", ratio=3)
    table.add_column("", justify="right", no_wrap=True)
    for reject in s.rejects[:5]:
        why = f"{reject.error} in {reject.stage}: {reject.reason}"
        table.add_row(
            Text(formatting.coordinate(reject.record_id, max(12, (width - 16) * 2 // 5))),
            Text(why),
            formatting.ago(s.at - reject.rejected_at),
        )
    return table


_SOURCE_COLUMNS: dict[str, Callable[[Source], Text]] = {
    "records/s": lambda source: Text(formatting.number(source.records_per_second)),
    "waiting": lambda source: Text(formatting.number(source.lag + source.in_flight)),
    "oldest": lambda source: Text(formatting.seconds(source.lag_seconds)),
    "to go": lambda source: Text(to_go(source)),
    "rows": lambda source: Text(formatting.number(source.rows)),
    "rejects": lambda source: Text(formatting.number(source.rejected), "yellow" if source.rejected else ""),
    "lost": lambda source: Text(formatting.number(source.lost), "red" if source.lost else ""),
}
