"""The picture of the status page for a terminal: who works, who waits, what the doctor says."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ops.watch import words
from ops.watch.snapshot import Finding, Snapshot, Source, Stage
from ops.watch.symptoms import outside

_COLOURS = {"bad": "red", "warn": "yellow", "info": "blue", "well": "green"}
_BARS = "▁▂▃▄▅▆▇█"
_BAR = 20  # columns of a stage's bar
_SPARK = 30


def picture(s: Snapshot) -> RenderableType:
    """One screen: verdict, stages, sources, and the rejects of late."""
    parts: list[RenderableType] = [_head(s), verdict(s.findings), _stages(s), "", _sources(s), "", _flow(s)]
    if s.rejects:
        parts += ["", _rejects(s)]
    return Group(*parts)


def verdict(findings: list[Finding]) -> RenderableType:
    """What the doctor says, worst first."""
    said = Text()
    for place, finding in enumerate(findings):
        colour = _COLOURS[finding.severity]
        said.append("" if place == 0 else "\n")
        said.append("● ", colour)
        said.append(finding.sentence, "bold" if place == 0 else "")
        if finding.advice:
            said.append(f"\n  → {finding.advice}", "dim")
    return Panel(said, border_style=_COLOURS[findings[0].severity], padding=(0, 1))


def _head(s: Snapshot) -> RenderableType:
    line = Table.grid(expand=True)
    line.add_column()
    line.add_column(justify="right")
    left = Text.assemble(
        (s.pipeline, "bold"), "  ", (s.state, "green" if s.ready else "yellow"), "  ", (s.model, "dim")
    )
    up = f"up {words.seconds(s.at - s.started_at)} · " if s.started_at else ""
    generation = f" · generation {s.generation}" if s.generation else ""
    line.add_row(left, Text(f"{up}epoch {s.epoch}{generation}", "dim"))
    return line


def _stages(s: Snapshot) -> RenderableType:
    table = Table(box=None, expand=True, padding=(0, 1), header_style="dim")
    table.add_column("stage", min_width=9)
    table.add_column("busy █ held ▒ idle ·", min_width=_BAR)
    for name in ("busy", "held", "actors", "a split"):
        table.add_column(name, justify="right")
    table.add_column("", ratio=1, no_wrap=True)
    for stage in s.stages:
        table.add_row(
            Text(stage.name, "bold"),
            _bar(stage),
            words.percent(stage.busy),
            words.percent(stage.backpressured),
            f"{stage.actors} of {stage.max_actors}",
            words.seconds(stage.split_seconds),
            _note(s, stage),
        )
    return table


def _bar(stage: Stage) -> Text:
    if stage.busy is None:
        return Text("no figures yet", "dim")
    busy = round(stage.busy * _BAR)
    held = min(_BAR - busy, round((stage.backpressured or 0.0) * _BAR))
    return Text.assemble(("█" * busy, "blue"), ("▒" * held, "yellow"), ("·" * (_BAR - busy - held), "dim"))


def _note(s: Snapshot, stage: Stage) -> Text:
    if stage.waits:
        return Text(f"waits for {outside(stage.waits_for or '')}", "red")
    return Text("◀ bottleneck", "yellow") if stage.name == s.bottleneck else Text()


def _sources(s: Snapshot) -> RenderableType:
    table = Table(box=None, expand=True, padding=(0, 1), header_style="dim")
    table.add_column("source", ratio=1, min_width=14)
    for name in ("records/s", "waiting", "oldest", "to go", "rows", "rejects", "lost"):
        table.add_column(name, justify="right", no_wrap=True)
    for source in s.sources:
        shown = Text.assemble((source.name, "bold"), "  ", (words.clipped(source.place, 40), "dim"))
        if trouble := source.failure or source.trouble:
            shown.append(f"\n{'stopped' if source.failure else 'waits'}: {words.clipped(trouble, 160)}", "red")
        table.add_row(
            shown,
            words.number(source.records_per_second),
            words.number(source.lag + source.in_flight),
            words.seconds(source.lag_seconds),
            to_go(source),
            words.number(source.rows),
            Text(words.number(source.rejected), "yellow" if source.rejected else ""),
            Text(words.number(source.lost), "red" if source.lost else ""),
        )
    return table


def to_go(source: Source) -> str:
    """How long until nothing waits."""
    if not source.lag + source.in_flight:
        return "done"
    return "it stands" if source.eta_seconds is None else words.seconds(source.eta_seconds)


def _flow(s: Snapshot) -> RenderableType:
    records = s.records
    table = Table.grid(padding=(0, 2))
    flight = f"{words.count(s.in_flight_splits, 'split')}, {words.size(s.in_flight_bytes)}"
    rows = {
        "rate": Text.assemble(
            (spark(s.recent.history), "blue"), f"  {words.number(s.recent.records_per_second)} records/s"
        ),
        "in flight": Text(f"{flight} · a commit takes {words.seconds(s.recent.commit_seconds)}"),
        "records": Text(
            f"{records.planned:,} planned = {records.committed:,} rows + {records.rejected:,} rejects"
            f" + {records.lost:,} lost + {records.in_flight:,} in flight"
        ),
    }
    for name, value in rows.items():
        table.add_row(Text(f" {name}", "dim"), value)
    return table


def spark(history: list[float]) -> str:
    """The last half minute in eight heights."""
    last = history[-_SPARK:]
    top = max(last, default=0.0)
    return "".join(_BARS[min(7, int(value / top * 7.99))] if top else _BARS[0] for value in last)


def _rejects(s: Snapshot) -> RenderableType:
    table = Table(box=None, expand=True, padding=(0, 1), header_style="dim")
    table.add_column("rejects", no_wrap=True, overflow="ellipsis", ratio=2)
    table.add_column("why", no_wrap=True, overflow="ellipsis", ratio=3)
    table.add_column("", justify="right", no_wrap=True)
    for reject in s.rejects[:5]:
        why = f"{reject.error} in {reject.stage}: {reject.reason}"
        table.add_row(
            Text(words.coordinate(reject.record_id, 48)), Text(why), f"{words.seconds(s.at - reject.rejected_at)} ago"
        )
    return table
