"""Figures in formatting."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from stream_infer.ops.watch import formatting


def test_figures_are_short_and_have_their_unit() -> None:
    numbers: dict[float | None, str] = {
        0: "0",
        3.24: "3.2",
        12.6: "13",
        1234: "1,234",
        1_230_000: "1.23 M",
        None: "—",
        math.inf: "∞",
    }
    assert {value: formatting.number(value) for value in numbers} == numbers
    times: dict[float | None, str] = {
        0: "0 s",
        0.12: "120 ms",
        4.21: "4.2 s",
        61: "61 s",
        200: "3 min",
        7500: "2 h 5 min",
        7200: "2 h",
    }
    times |= {400_000: "5 d", math.inf: "never", None: "—"}
    assert {value: formatting.seconds(value) for value in times} == times
    assert {value: formatting.ago(value) for value in (0.3, -2.0, 12.4)} == {
        0.3: "just now",
        -2.0: "just now",
        12.4: "12 s ago",
    }
    sizes = {0: "0 B", 1536: "1.5 KiB", 200 * 2**20: "200 MiB", None: "—"}
    assert {value: formatting.size(value) for value in sizes} == sizes
    shares = {0: "0 %", 0.004: "< 1 %", 0.98: "98 %", 1: "100 %", None: "—"}
    assert {value: formatting.percent(value) for value in shares} == shares


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_every_float_has_words(value: float) -> None:
    assert formatting.number(value)
    assert formatting.seconds(abs(value))


def test_a_url_is_shown_without_what_must_not_be() -> None:
    assert formatting.without_credentials("s3://id:secret@bucket/in/?sig=secret#secret") == "s3://bucket/in/"
    assert formatting.without_credentials("/data/in") == "/data/in"


def test_a_long_line_keeps_both_ends() -> None:
    line = formatting.clipped("begin " + "x" * 500 + " end", 50)
    assert line.startswith("begin")
    assert line.endswith("end")
    assert len(line) == 50


def test_a_record_keeps_what_tells_it_from_its_neighbours() -> None:
    assert formatting.coordinate("kafka://6WiSonYrTmS2DvQTXpVxRA/tickets/0/17", 40) == "tickets/0/17"
    long = formatting.coordinate(f"s3://in/{'deep/' * 30}a.txt?version=1#7", 40)
    assert len(long) == 40
    assert long.startswith("…")
    assert long.endswith("deep/a.txt#7")
    assert formatting.coordinate("s3://in/a.txt?version=1#0", 40) == "s3://in/a.txt"
