"""What a split holds: documents of every version, halves, intervals, record ids and single records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer.bounds import (
    Bounds,
    LogRange,
    ObjectRef,
    ObjectSet,
    halves,
    in_words,
    intervals,
    log_range,
    object_of,
    parse,
    record_count,
    record_ids,
    single,
)
from stream_infer.connectors.kafka.partition_log import PartitionLog
from stream_infer.intervals import IntervalSet
from stream_infer.records import ObjectCoordinate, parse_coordinate
from stream_infer.splits import Reject, Split

LOCATION = "s3://bucket"
names = st.text(st.sampled_from("ab/?#%=&@ .\n\u00e4"), min_size=1, max_size=6)
# versions and keys of which one contains what separates the two in a coordinate
tricky = st.sampled_from(
    [
        "a",
        "a?version=b",
        "b?version=c",
        "b",
        "c",
        "a#1",
        "1",
        "a%3Fversion%3Db",
        "a/b",
        "/a",
        "a?",
        "?version=",
        "%",
        "%25",
    ]
)
refs = st.builds(ObjectRef, names | tricky, names | tricky, st.integers(0, 9), st.floats(0, 9))
objects = st.lists(refs, min_size=1, max_size=9, unique_by=lambda item: (item.key, item.version)).map(tuple)
rows = st.tuples(st.integers(0, 9), st.integers(1, 9)).map(lambda pair: (pair[0], pair[0] + pair[1]))
replays = st.integers(0, 2)
offsets = st.tuples(st.integers(0, 99), st.integers(1, 40)).map(lambda pair: (pair[0], pair[0] + pair[1]))
logs = st.builds(
    PartitionLog,
    st.just("c"),
    st.sampled_from(["t", "t@2"]),
    st.integers(0, 3),
    st.none() | st.just("id"),
    st.none() | st.just(0),
)
ranges = st.builds(lambda log, pair: log.range(*pair), logs, offsets) | st.builds(
    lambda log, pair, key, replay: LogRange(log, pair[0], pair[1], {"shard": "x"}, key, replay),
    st.sampled_from(["numbers://n", "n"]),
    offsets,
    st.sampled_from(["", "n", "k"]),
    replays,
)
sets = st.builds(ObjectSet, objects, st.none(), replays) | st.builds(
    lambda item, rows, replay: ObjectSet((item,), rows, replay), refs, rows, replays
)
bounds = ranges | sets

OF_0_1_0: list[tuple[dict[str, Any], str]] = [
    (
        {
            "cluster": "c",
            "topic": "t@2",
            "topic_id": "i",
            "partition": 3,
            "start": 5,
            "stop": 9,
            "position_key": "t@2/3",
        },
        "kafka://c/t@2/3/5",
    ),
    (
        {"cluster": "c", "topic": "t", "topic_id": "i", "partition": 0, "start": 1, "stop": 2, "position_key": "t/0"}
        | {"first": 0, "replay": 2},
        "kafka://c/t/0/1",
    ),
    ({"objects": [{"key": "a b", "version": "v", "size": 3, "modified": 1.5}]}, "s3://bucket/a%20b?version=v#0"),
    (
        {"objects": [{"key": "a", "version": "v", "size": 3, "modified": 1}], "rows": [4, 6], "replay": 1},
        "s3://bucket/a?version=v#4",
    ),
]


@pytest.mark.parametrize(("document", "first"), OF_0_1_0)
def test_documents_of_the_first_release_keep_their_form_and_their_records(document: dict[str, Any], first: str) -> None:
    assert parse(document).to_json() == document
    assert next(record_ids(parse(document), LOCATION)) == first
    assert Split.of("s", parse(document), folder="f", records=1, bytes=1) == Split.of(
        "s", document, folder="f", records=1, bytes=1
    )


def test_the_identity_of_a_split_is_that_of_the_first_release() -> None:
    kafka, files = (Split.of("s", document, folder="f", records=1, bytes=1) for document, _ in OF_0_1_0[:3:2])
    assert (kafka.split_id, files.split_id) == ("3bd0947e4f2e6e65e731905fe90f7bfe", "0bc05cd7564aef7046d4b00942751e1c")


@given(bounds)
def test_a_document_is_read_as_it_was_written(given: Bounds) -> None:
    assert parse(orjson.loads(orjson.dumps(given.to_json()))) == given


def test_a_document_that_holds_nothing_is_refused() -> None:
    for document in ({}, {"start": 1}, {"rows": [0, 1]}):
        assert log_range(document) is None
        with pytest.raises(ValueError, match="neither a range of a log nor objects"):
            parse(document)


@given(bounds, st.integers(1, 20))
def test_halves_hold_everything_once(given: Bounds, count: int) -> None:
    """Down to single records; the one whole object of a set counts its rows where they are known."""
    counted = isinstance(given, ObjectSet) and len(given.objects) == 1 and given.rows is None
    pending, singles = [given], []
    while pending:
        part = pending.pop()
        divided = halves(part, count if counted else None)
        if divided is None:
            singles.append(part)
            continue
        first, second = divided
        assert record_count(first) + record_count(second) == (
            count if part is given and counted else record_count(part)
        )
        touched = IntervalSet()
        touched.add(intervals(first))
        assert not touched.touches(intervals(second))
        pending += [second, first]
    ids = [name for part in singles for name in record_ids(part, LOCATION)]
    whole = ObjectSet(given.objects, (0, count)) if counted and isinstance(given, ObjectSet) else given
    assert ids == list(record_ids(whole, LOCATION))
    assert len(set(ids)) == len(ids)
    assert {part.replay for part in singles} == {given.replay}


@given(bounds, st.data())
def test_a_single_record_is_part_of_its_bounds(given: Bounds, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(record_ids(given, LOCATION))))
    one = single(given, name)
    assert list(record_ids(one, LOCATION)) == [name]
    whole = IntervalSet()
    whole.add(intervals(given))
    assert whole.touches(intervals(one))
    reject = Reject(name, "s", "read", "E", "r", 1, 1.0)
    split = Split.of("s", replace(given, replay=0), folder="f", records=record_count(given), bytes=100)
    replays = [split.for_replay(reject, number) for number in (1, 2)]
    assert len({split.split_id, *(replay.split_id for replay in replays)}) == 3
    assert [replay.replay for replay in replays] == [1, 2]


@given(refs, refs)
def test_two_versions_or_keys_never_share_a_coordinate(one: ObjectRef, other: ObjectRef) -> None:
    same = (one.key, one.version) == (other.key, other.version)
    assert (one.path == other.path) is same
    assert (list(intervals(ObjectSet((one,)))) == list(intervals(ObjectSet((other,))))) is same
    assert ObjectCoordinate("s3", "bucket", one.key, one.version).object_id == f"{LOCATION}/{one.path}"


@given(objects, st.data())
def test_the_object_of_a_record_is_that_object(given: tuple[ObjectRef, ...], data: st.DataObject) -> None:
    """Also among keys that are the end, or the coordinate, of another."""
    item, row = data.draw(st.sampled_from(given)), data.draw(st.integers(0, 99))
    name = f"{LOCATION}/{item.path}#{row}"
    assert object_of(ObjectSet(given), name) == (item, row)
    coordinate = parse_coordinate(name)
    assert isinstance(coordinate, ObjectCoordinate)
    assert (coordinate.key, coordinate.version, coordinate.row) == (item.key, item.version, row)
    with pytest.raises(ValueError, match="none of the split's objects"):
        object_of(ObjectSet(given), f"{LOCATION}/x{item.path}#{row}")


def test_bounds_in_words() -> None:
    assert in_words(LogRange("kafka://c/t/0", 1000, 2000, position_key="t/0")) == "t/0 1,000 … 1,999"
    items = tuple(ObjectRef(f"{name}.txt", "v", 1, 1.0) for name in "abc")
    assert in_words(ObjectSet(items)) == "a.txt and 2 more"
    assert in_words(ObjectSet(items[:1])) == "a.txt"
    assert in_words(ObjectSet(items[:1], (0, 500))) == "a.txt rows 0 … 499"
    assert in_words(ObjectSet(())) == "no object"
