"""A report hides nothing: what is missed or failed stays in it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import report
from benchmarks.chart import bar_chart
from benchmarks.kit import Kit
from benchmarks.report import table
from benchmarks.results import Result
from benchmarks.rows import gpu
from benchmarks.turns import by_turns
from stream_infer.telemetry.gpu import Gpus


def test_a_missed_target_and_a_peer_without_a_figure_stay_in_the_table() -> None:
    result = Result("row", "A row", "records/s")
    result.add_ratio("÷ loop", 120.0, 100.0, 1.3, "two hand-overs")
    result.add_at_most("idle", 2.0, 3.0, "%", "never said when met")
    result.add_statement("peer x", "no figure", "does not install")
    shown = table([result])
    assert "| row | ÷ loop | 1.20 | ≥ 1.3 | **missed** | two hand-overs |" in shown
    assert "| row | idle | 2 % | ≤ 3 % | met |  |" in shown
    assert "| row | peer x | no figure | stated |  | does not install |" in shown


def test_competitors_run_by_turns_and_one_that_cannot_be_run_is_left_out() -> None:
    ran: list[tuple[str, int]] = []

    def job(name: str, rates: list[float | None]) -> Callable[[int], float | None]:
        def run(turn: int) -> float | None:
            ran.append((name, turn))
            return rates[turn]

        return run

    rates = by_turns(
        3, {"ours": job("ours", [1, 2, 9]), "gone": job("gone", [1, None]), "loop": job("loop", [2, 2, 3])}
    )
    assert rates == {"ours": [1, 2, 9], "loop": [2, 2, 3]}
    assert ran == [
        ("ours", 0),
        ("gone", 0),
        ("loop", 0),
        ("ours", 1),
        ("gone", 1),
        ("loop", 1),
        ("ours", 2),
        ("loop", 2),
    ]
    result = Result("row", "A row", "records/s")
    result.add_rates(rates)
    result.add_ratio_by_turns("÷ loop", rates["ours"], rates["loop"], 1.1, "luck")
    assert result.bars == {"ours": 2, "loop": 2}
    assert "| row | ÷ loop | 1.00 (0.50 to 3.00) | ≥ 1.1 | **missed** | luck |" in table([result])


def test_a_chart_is_valid_and_in_proportion() -> None:
    result = Result("row", "Ours < theirs & more", "records/s", {"stream-infer": 50.0, "loop": 100.0})
    bars = ElementTree.fromstring(bar_chart(result)).findall("{http://www.w3.org/2000/svg}rect")
    ours, loop = (float(bar.attrib["width"]) for bar in bars)
    assert abs(loop - 2 * ours) < 0.2
    assert ">123,456</text>" in bar_chart(
        Result("row", "Fast", "records/s", {"stream-infer": 123_456.4, "loop": 6.54321})
    )
    assert [bar.attrib["class"] for bar in bars] == ["o", "p"]


def _without(_kit: object) -> Result:
    return Result("gpu", "On a GPU", "texts/s", elsewhere=True)


def test_figures_of_another_machine_stay_where_this_one_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, here = tmp_path / "elsewhere", tmp_path / "here"
    for folder in (elsewhere, here):
        folder.mkdir()
    measured = Result("gpu", "On a GPU", "texts/s", {"stream-infer": 2.0})
    measured.add_ratio("÷ forward", 2.0, 2.0, 0.95)
    monkeypatch.setattr(report, "HERE", elsewhere)
    report.write([measured], quick=False)
    monkeypatch.setattr(report, "HERE", here)
    monkeypatch.setattr(benchmarks, "ROWS", {"gpu": _without})
    for arguments in (["gpu", "--take", str(elsewhere / "results.json")], ["gpu"]):
        monkeypatch.setattr("sys.argv", ["benchmarks", *arguments])
        benchmarks.main()
        assert report.load() == [measured]


def test_a_machine_without_a_gpu_proves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gpus, "read", lambda _self: [])
    with contextlib.ExitStack() as stack:
        result = gpu.measure(Kit(tmp_path, stack, quick=True))
    assert result.elsewhere
    assert [(check.measured, check.passed) for check in result.checks] == [("no GPU here", None)]
