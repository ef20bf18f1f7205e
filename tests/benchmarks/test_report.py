"""A report hides nothing: what is missed or failed stays in it."""

from __future__ import annotations

from xml.etree import ElementTree

from benchmarks.chart import bar_chart
from benchmarks.report import table
from benchmarks.results import Result


def test_a_missed_target_and_a_peer_without_a_figure_stay_in_the_table() -> None:
    result = Result("row", "A row", "records/s")
    result.ratio("÷ loop", 120.0, 100.0, 1.3, "two hand-overs")
    result.at_most("idle", 2.0, 3.0, "%", "never said when met")
    result.stated("peer x", "no figure", "does not install")
    shown = table([result])
    assert "| row | ÷ loop | 1.20 | ≥ 1.3 | **missed** | two hand-overs |" in shown
    assert "| row | idle | 2 % | ≤ 3 % | met |  |" in shown
    assert "| row | peer x | no figure | stated |  | does not install |" in shown


def test_a_chart_is_valid_and_in_proportion() -> None:
    result = Result("row", "Ours < theirs & more", "records/s", {"stream-infer": 50.0, "loop": 100.0})
    bars = ElementTree.fromstring(bar_chart(result)).findall("{http://www.w3.org/2000/svg}rect")
    ours, loop = (float(bar.attrib["width"]) for bar in bars)
    assert abs(loop - 2 * ours) < 0.2
    assert [bar.attrib["class"] for bar in bars] == ["o", "p"]
