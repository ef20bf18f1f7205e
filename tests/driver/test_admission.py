"""What may be in the execution is bounded, live work first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stream_infer.driver.admission import Backlog
from stream_infer.driver.sizing import SplitSizer
from stream_infer.splits import Receipt, Split

splits = st.lists(st.tuples(st.integers(1, 100), st.sampled_from(["live", "backfill"])), min_size=1, max_size=30)


@given(splits, st.integers(1, 150), st.integers(1, 8))
def test_bytes_and_count_are_never_exceeded_and_everything_leaves(
    items: list[tuple[int, str]], most_bytes: int, most_splits: int
) -> None:
    backlog = Backlog(most_bytes, most_splits, 100)
    offered = [
        Split.of("s", {"n": n}, folder="f", records=1, bytes=size, lane=lane) for n, (size, lane) in enumerate(items)
    ]
    backlog.offer(offered)
    left: list[Split] = []
    while backlog.waiting or backlog.in_flight:
        taken = backlog.take(0)
        left += taken
        assert backlog.in_flight == 1 or backlog.in_flight_bytes <= most_bytes
        assert backlog.in_flight <= max(1, most_splits)
        for split in taken:
            backlog.settle(split.split_id)
            backlog.settle(split.split_id)
    expected = [s for s in offered if s.lane == "live"] + [s for s in offered if s.lane == "backfill"]
    assert left == expected
    assert backlog.in_flight_bytes == 0


def test_what_a_failed_execution_held_is_given_back_once() -> None:
    backlog = Backlog(100, 2, 100)
    offered = [Split.of("s", {"n": n}, folder="f", records=1, bytes=60) for n in range(3)]
    backlog.offer(offered)
    (first,) = backlog.take(0)
    assert backlog.returned() == [first]
    assert (backlog.in_flight, backlog.in_flight_bytes, backlog.returned()) == (0, 0, [])
    assert backlog.take(0) == [offered[1]]  # there is room again, for as much as before
    assert backlog.in_flight_bytes == 60


def test_a_source_with_a_long_backlog_leaves_the_others_room_to_plan() -> None:
    backlog = Backlog(10**6, 2, 3)
    busy = [Split.of("busy", {"n": n}, folder="f", records=1, bytes=1) for n in range(5)]
    backlog.offer(busy[:2])
    backlog.take(0)
    backlog.offer(busy[2:])
    assert backlog.capacity(0, "busy") == 0
    assert backlog.capacity(0, "quiet") == 3
    assert backlog.capacity(0, "quiet", most=4) == 3
    assert backlog.capacity(0, "busy", most=6) == 0  # three wait, two are in the execution
    backlog.offer([Split.of("quiet", {"n": 0}, folder="f", records=1, bytes=1)])
    backlog.settle(busy[0].split_id)
    backlog.settle(busy[1].split_id)
    assert [split.source for split in backlog.take(0)] == ["busy", "busy"]
    assert backlog.capacity(0, "busy") == 2


@given(st.lists(st.tuples(st.integers(1, 50_000), st.floats(1e-6, 10), st.integers(1, 10**6)), max_size=30))
def test_a_split_never_exceeds_its_limits(receipts: list[tuple[int, float, int]]) -> None:
    sizer = SplitSizer(20_000, fused=False)
    for rows, seconds, size in receipts:
        sizer.learn(Receipt("i", "s", 1, {}, rows=rows, seconds={"infer": seconds}, bytes_in=rows * size))
        assert 1 <= sizer.records() <= 20_000


def test_splits_grow_to_a_second_of_work() -> None:
    sizer = SplitSizer(20_000, fused=False)
    for _ in range(20):
        rows = sizer.records()
        sizer.learn(Receipt("i", "s", 1, {}, rows=rows, seconds={"infer": rows * 0.0005}, bytes_in=rows))
    assert 1800 <= sizer.records() <= 2200


def test_what_every_split_costs_is_not_taken_for_the_cost_of_its_records() -> None:
    """Or a few records that took as long as a seek and a flush would make the next splits small."""
    sizer = SplitSizer(50_000, fused=True)
    assert sizer.probing
    for _ in range(8):
        assert sizer.records() >= 512
        sizer.learn(Receipt("i", "s", 1, {}, rows=512, seconds={"read": 0.03 + 512 * 4e-6}, bytes_in=512))
    assert sizer.records() == 512 * 32
    assert not sizer.probing


def test_a_dear_record_is_never_taken_for_a_cheap_one() -> None:
    sizer = SplitSizer(50_000, first=32, fused=False)
    assert sizer.records() == 32
    sizer.learn(Receipt("i", "s", 1, {}, rows=1, seconds={"infer": 0.2}, bytes_in=1))
    assert sizer.records() <= 7


def test_splits_are_longer_under_a_backlog_and_short_again_at_its_end() -> None:
    sizer = SplitSizer(50_000, fused=False, actors=2)
    for _ in range(30):
        sizer.learn(Receipt("i", "s", 1, {}, rows=50, seconds={"infer": 0.05 + 50 * 0.02}, bytes_in=50))
    sizes = [sizer.records(waiting) for waiting in (10**6, 1600, 800, 0)]
    assert sizes == sorted(sizes, reverse=True)
    assert 390 <= sizes[0] <= 410
    assert sizes[1] == 200  # a quarter for each actor
    assert 45 <= sizes[3] <= 55


def test_objects_of_many_records_are_a_backlog_by_their_size() -> None:
    """How many records wait in them, nobody knows before they are read."""
    sizer = SplitSizer(50_000, fused=False, actors=2)
    for _ in range(30):
        sizer.learn(Receipt("i", "s", 1, {}, rows=50, seconds={"infer": 0.05 + 50 * 0.02}, bytes_in=50 * 1000))
    assert 195 <= sizer.records(4, 1600 * 1000) <= sizer.records(1600) == 200
    assert sizer.records(4, 4 * 1000) == sizer.records(4)


def test_a_few_large_records_do_not_make_the_splits_of_small_ones_short() -> None:
    """A source that knows the sizes fills its splits by them."""
    sizer = SplitSizer(50_000, fused=True)
    for _ in range(8):
        sizer.learn(Receipt("i", "s", 1, {}, rows=1, seconds={"read": 0.2}, bytes_in=100 * 2**20))
    assert sizer.records() >= 5
