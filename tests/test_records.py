"""Coordinates name a record for ever, whatever its key holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.records import KafkaCoordinate, ObjectCoordinate, parse_coordinate
from stream_infer.splits import Loss, Receipt, Reject, Split

keys = st.text(min_size=1, max_size=200).filter(lambda key: not key.startswith("/") and "\ud800" not in key)


@given(keys, st.text("0123456789abcdef-", min_size=1), st.integers(0, 10**12))
def test_an_object_coordinate_comes_back(key: str, version: str, row: int) -> None:
    coordinate = ObjectCoordinate("s3", "bucket", key, version, row)
    assert parse_coordinate(str(coordinate)) == coordinate


@given(st.from_regex(r"[A-Za-z0-9_-]{1,30}", fullmatch=True), st.integers(0, 9999), st.integers(0, 2**60))
def test_a_kafka_coordinate_comes_back(topic: str, partition: int, offset: int) -> None:
    coordinate = KafkaCoordinate("cLuSter-1", topic, partition, offset)
    assert parse_coordinate(str(coordinate)) == coordinate


@given(keys, keys)
def test_two_keys_never_share_a_coordinate(one: str, other: str) -> None:
    same = ObjectCoordinate("s3", "b", one, "v").object_id == ObjectCoordinate("s3", "b", other, "v").object_id
    assert same == (one == other)


@pytest.mark.parametrize("text", ["", "nonsense", "kafka://c/t/x/1", "s3://b/k"])
def test_what_is_no_coordinate_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no coordinate"):
        parse_coordinate(text)


def test_a_split_is_named_by_source_and_bounds_alone() -> None:
    one = Split.of("a", {"x": 1, "y": 2}, folder="date=2026-01-01", records=1, bytes=1)
    other = Split.of("a", {"y": 2, "x": 1}, folder="date=2026-01-02", records=9, bytes=9, lane="backfill")
    assert one.split_id == other.split_id
    assert Split.from_json(one.to_json()) == one
    assert one.child({"x": 1}, records=1, bytes=1).folder == one.folder


def test_a_receipt_comes_back() -> None:
    reject = Reject("r", "s", "infer", "E", "why", 1, 2.0)
    receipt = Receipt("i", "s", 1, {"a": 1}, rejects=(reject,), losses=(Loss("l", "s", "expired", 4),), poisoned=reject)
    assert Receipt.from_json(receipt.to_json()) == receipt
    assert receipt.records == 5
