"""The page of metrics is the list of metrics."""

from __future__ import annotations

from pathlib import Path

from stream_infer.telemetry.reference import markdown


def test_the_page_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "metrics.md"
    assert page.read_text(encoding="utf-8") == markdown(), (
        "python -m stream_infer.telemetry.reference > docs/metrics.md"
    )
