"""The kinds of panel in the dashboards, and the frame of every dashboard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.queries import DASHBOARD
from stream_infer.telemetry import metrics as m

TAG: Final = "stream-infer"
RAY: Final = {"Ray Data": "rayDataDashboard", "Ray cluster": "rayDefaultDashboard"}
Panel = stat.Panel | timeseries.Panel | table.Panel
Colours = Sequence[tuple[float | None, str]]
_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")


@dataclass(frozen=True, slots=True)
class Query:
    """One expression of a panel, and the legend of its series (Grafana's ``{{label}}``)."""

    expr: str
    legend: str
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard: rows of panels.

    Attributes:
        by_source: whether a variable picks the sources.
    """

    uid: str
    title: str
    description: str
    rows: Sequence[tuple[str, Sequence[Panel]]]
    by_source: bool = False
    tags: Sequence[str] = field(default=(TAG,))

    def render(self) -> str:
        """The dashboard's JSON, as Grafana imports it."""
        built = _frame(self)
        for title, row in self.rows:
            built.with_row(dashboard.Row(title))
            for panel in row:
                built.with_panel(panel)
        document: dict[str, Any] = json.loads(json.dumps(built.build(), cls=JSONEncoder))
        for number, panel in enumerate(document["panels"], 1):
            panel["id"] = number
        return json.dumps(document, indent=2, sort_keys=True) + "\n"


def green_below(warn: float, bad: float) -> Colours:
    """Green for small values."""
    return (None, "green"), (warn, "yellow"), (bad, "red")


def green_from(bad: float, good: float) -> Colours:
    """Green for large values."""
    return (None, "red"), (bad, "yellow"), (good, "green")


def number(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    colours: Colours = (),
    w: int = 4,
    texts: dict[str, str] | None = None,
) -> stat.Panel:
    """A panel with the last value.

    Args:
        colours: lower bound and colour of each range of values.
        texts: text shown in place of a value.
    """
    panel = stat.Panel().title(title).description(description).unit(unit).datasource(_SOURCE).span(w).height(4)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.graph_mode(shapes.BigValueGraphMode.AREA).thresholds(_thresholds(colours or ((None, "text"),)))
    if texts:
        mapping = {value: ValueMappingResult(text=text, index=at) for at, (value, text) in enumerate(texts.items())}
        panel.mappings([ValueMap(options=mapping)])
    return panel.targets(_targets(queries))


def lines(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    colours: Colours = (),
    stacked: bool = False,
    top: float | None = None,
    w: int = 8,
) -> timeseries.Panel:
    """A panel with values over time.

    Args:
        top: fixed upper end of the axis.
    """
    panel = timeseries.Panel().title(title).description(description).unit(unit).datasource(_SOURCE).span(w).height(8)
    panel.min(0).fill_opacity(25 if stacked else 8).show_points(shapes.VisibilityMode.NEVER)
    legend = common.VizLegendOptions().display_mode(shapes.LegendDisplayMode.TABLE).calcs(["lastNotNull", "max"])
    panel.legend(legend.placement(shapes.LegendPlacement.BOTTOM).show_legend(True))
    panel.tooltip(common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI).sort(shapes.SortOrder.DESCENDING))
    if top is not None:
        panel.max(top)
    if stacked:
        panel.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL).group("A"))
    if colours:
        panel.thresholds(_thresholds(colours))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(shapes.GraphThresholdsStyleMode.DASHED))
    return panel.targets(_targets(queries))


def listing(
    title: str, description: str, unit: str, query: Query, columns: dict[str, str], *, w: int = 12
) -> table.Panel:
    """A table with a row for each series.

    Args:
        columns: label (or ``Value``) to heading, in order; the rest is hidden.
    """
    panel = table.Panel().title(title).description(description).unit(unit).datasource(_SOURCE).span(w).height(8)
    asked = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).instant().ref_id("A")
    panel.with_target(asked.format(PromQueryFormat.TABLE).datasource(_SOURCE))
    order = {name: at for at, name in enumerate(columns)}
    options = {"include": {"names": list(columns)}}
    panel.with_transformation(DataTransformerConfig(id_val="filterFieldsByName", options=options))
    options_order: dict[str, object] = {"indexByName": order, "renameByName": columns}
    return panel.with_transformation(DataTransformerConfig(id_val="organize", options=options_order))


def _targets(queries: Sequence[Query]) -> list[Any]:
    targets = []
    for ref, query in zip("ABCDEFGH", queries, strict=False):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).range().ref_id(ref)
        targets.append((target.exemplar(True) if query.exemplars else target).datasource(_SOURCE))
    return targets


def _thresholds(colours: Colours) -> dashboard.ThresholdsConfig:
    built = [Threshold(value=value, color=colour) for value, colour in colours]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(built)


def _frame(board: Board) -> dashboard.Dashboard:
    built = dashboard.Dashboard(f"stream-infer / {board.title}").uid(board.uid).description(board.description)
    built.tags(list(board.tags)).readonly().refresh("30s").time("now-1h", "now").timezone("browser")
    built.tooltip(DashboardCursorSync.CROSSHAIR)
    built.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    asked = m.BUILD_INFO.full_name
    built.with_variable(_choice("job", f"label_values({asked}, job)"))
    built.with_variable(_choice("instance", f'label_values({asked}{{job=~"$job"}}, instance)'))
    if board.by_source:
        built.with_variable(_choice("source", f"label_values({DASHBOARD.of(m.SOURCE_UP)}, source)"))
    siblings = dashboard.DashboardLink("stream-infer").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    built.link(siblings.as_dropdown(False).include_vars(True).keep_time(True))
    for title, uid in RAY.items():
        link = dashboard.DashboardLink(title).type(DashboardLinkType.LINK).url(f"/d/{uid}").icon("external link")
        built.link(link.tooltip("Ray's own dashboard of its own metrics").keep_time(True).target_blank(True))
    return built


def _choice(name: str, query: str) -> dashboard.QueryVariable:
    asked = dashboard.QueryVariable(name).label(name.capitalize()).query(query).datasource(_SOURCE)
    asked.multi(True).include_all(True).all_value(".+").sort(VariableSort.ALPHABETICAL_ASC)
    return asked.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
