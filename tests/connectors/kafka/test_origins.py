"""The span of a message's producer is read from its headers; invalid headers give no span."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from stream_infer.connectors.kafka.messages import traceparent, without_repetition
from stream_infer.connectors.kafka.partition_log import PartitionLog
from stream_infer.contracts import Piece, joined
from stream_infer.driver.traces import attributes_of
from stream_infer.splits import Split

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"
hexadecimal = st.sampled_from("0123456789abcdef")


@given(st.lists(st.tuples(st.text(max_size=12), st.none() | st.binary(max_size=80)), max_size=4))
def test_any_headers_are_borne(headers: list[tuple[str, bytes | None]]) -> None:
    origin = traceparent(headers)
    assert origin is None or origin.encode() in [value for _, value in headers]


@given(st.text(hexadecimal, min_size=32, max_size=32), st.text(hexadecimal, min_size=16, max_size=16))
def test_a_traceparent_is_found_unless_its_ids_are_zero(trace: str, span: str) -> None:
    text = f"00-{trace}-{span}-00"
    valid = set(trace) != {"0"} and set(span) != {"0"}
    assert traceparent([("x", b"y"), ("TraceParent", text.encode())]) == (text if valid else None)


def test_what_is_malformed_is_left_alone() -> None:
    for value in (b"", b"00", f"00-{TRACE}".encode(), GOOD.upper().encode(), b"\xff" * 55, None):
        assert traceparent([("traceparent", value)]) is None
    assert traceparent(None) is None


@given(st.lists(st.sampled_from([None, "a", "b"]), max_size=20), st.integers(0, 20))
def test_origins_in_pieces_are_those_of_the_whole(parents: list[str | None], cut: int) -> None:
    whole = without_repetition(parents)
    pieces = [Piece(origins=without_repetition(part)) for part in (parents[:cut], parents[cut:])]
    assert joined(pieces).origins == whole
    assert all(one != other for one, other in itertools.pairwise(whole))


def test_a_split_is_named_as_the_messaging_conventions_name_it() -> None:
    bounds = PartitionLog("c", "texts@2", 3).range(5, 9)
    split = Split.of("s", bounds, folder="f", records=4, bytes=4)
    attributes = attributes_of(split, {"messaging.consumer.group.name": "group"})
    assert attributes["messaging.system"] == "kafka"
    assert attributes["messaging.destination.name"] == "texts"
    assert attributes["messaging.destination.partition.id"] == "3"
    assert attributes["messaging.consumer.group.name"] == "group"
    assert (attributes["messaging.kafka.offset"], attributes["stream_infer.kafka.end_offset"]) == (5, 9)
