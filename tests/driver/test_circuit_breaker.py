"""A storm is recognised before more than its limit is rejected; bad records, files and splits alone are none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from stream_infer.config import CircuitBreakerLimits
from stream_infer.driver.circuit_breaker import CircuitBreaker
from stream_infer.splits import Receipt, Reject, Split
from stream_infer.tasks import Done, Outcome, Poisoned, Task

LIMITS = CircuitBreakerLimits(records=100, share=0.9, splits=12)
SIZES = st.integers(1, 60)


def _split(name: object, records: int = 1) -> Split:
    return Split.of("s", {"n": name}, folder="f", records=records, bytes=1)


def _why(record_id: str = "", error: str = "ValueError") -> Reject:
    return Reject(record_id, "s", "infer", error, "sour", 1, 0.0)


def _finished(name: object, rejects: Sequence[str], rows: int = 0, error: str = "ValueError") -> Outcome:
    split = _split(name, rows + len(rejects))
    receipt = Receipt(
        split.split_id,
        "s",
        1,
        {},
        file="f" if rows else None,
        rows=rows,
        rejects=tuple(_why(i, error) for i in rejects),
    )
    return Done(Task(split, receipt=receipt))


def _killing(split: Split) -> Outcome:
    return Poisoned(Task(split), _why(error="WorkerDied"))


def _pieces(split: Split, depth: int = 4) -> Iterator[Split]:
    """The split and all its pieces, down to single records, as the committer meets them."""
    yield split
    if split.records > 1:
        for number in range(min(16, split.records)):
            records = max(1, split.records // 16)
            piece = _split([split.split_id, number], records)
            yield from _pieces(replace(piece, parent=split.split_id, depth=split.depth + 1), depth - 1)


@given(st.lists(SIZES, min_size=1, max_size=200))
def test_where_everything_fails_no_more_than_the_limit_is_rejected(sizes: list[int]) -> None:
    circuit_breaker, rejected, offset = CircuitBreaker(LIMITS), 0, 0
    for number, size in enumerate(sizes):
        names = [f"kafka://c/t/0/{offset + at}" for at in range(size)]
        offset += size
        if not circuit_breaker.holds(_finished(number, names)):
            rejected += size
    assert circuit_breaker.rejected == rejected <= LIMITS.records
    assert (circuit_breaker.open_reason is not None) == (offset >= LIMITS.records)
    if circuit_breaker.open_reason is not None:
        assert circuit_breaker.sentence(7).count("7 records are held back") == 1
        assert "in infer with ValueError (the last one: sour)" in circuit_breaker.open_reason


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=60), st.integers(0, 90))
@example(splits=[(0, 0), (1, 7)], before=90)
def test_a_stream_whose_share_of_bad_records_is_lower_goes_on(splits: list[tuple[int, int]], before: int) -> None:
    circuit_breaker = CircuitBreaker(LIMITS)
    for number in range(before):  # few records, however bad
        assert not circuit_breaker.holds(_finished(f"b{number}", [f"b/{number}"]))
    for number, (rows, rejects) in enumerate(splits):
        bad = min(rejects, rows * 8) if number else 0
        good = rows + (1 if number else 10)  # ninety bad ones and a few good would be a storm
        assert not circuit_breaker.holds(_finished(number, [f"{number}/{at}" for at in range(bad)], good))
    assert circuit_breaker.open_reason is None


def test_one_bad_file_does_not_open_it_but_ten_are() -> None:
    circuit_breaker = CircuitBreaker(LIMITS)
    for number in range(20):
        assert not circuit_breaker.holds(
            _finished(number, [f"s3://b/k?version=1#{number * 60 + at}" for at in range(60)])
        )
    for number in range(8):
        assert not circuit_breaker.holds(
            _finished(f"o{number}", [f"s3://b/{number}?version=1#{at}" for at in range(15)])
        )
    assert circuit_breaker.open_reason is None
    assert circuit_breaker.holds(_finished("ten", [f"s3://b/8?version=1#{at}" for at in range(90)]))


def test_one_endless_bad_file_opens_it_at_last() -> None:
    circuit_breaker = CircuitBreaker(LIMITS)
    for number in range(1000):
        if circuit_breaker.holds(_finished(number, [f"s3://b/k?version=1#{number * 60 + at}" for at in range(60)])):
            break
    assert circuit_breaker.rejected == 9960


def test_what_is_in_a_file_is_committed_even_when_the_line_stands() -> None:
    circuit_breaker = CircuitBreaker(LIMITS)
    assert not circuit_breaker.holds(_finished(1, [f"r/{at}" for at in range(99)]))
    assert circuit_breaker.holds(_finished(2, ["r/100"]))
    assert not circuit_breaker.holds(_finished(3, ["r/101"], rows=1))
    assert not circuit_breaker.holds(_finished(4, []))
    assert circuit_breaker.holds(_killing(_split(5)))
    retired = Receipt("x", "s", 1, {}, retired=True)
    assert circuit_breaker.holds(Done(Task(_split(6), receipt=retired)))


def test_splits_that_kill_one_after_another_open_it() -> None:
    circuit_breaker = CircuitBreaker(LIMITS)
    for number in range(11):
        assert not circuit_breaker.holds(_killing(_split(number, 20)))
    assert not circuit_breaker.holds(_finished("good", [], rows=1))
    for number in range(11):
        assert not circuit_breaker.holds(_killing(_split(f"again {number}", 20)))
    assert circuit_breaker.holds(_killing(_split("last", 20)))
    assert circuit_breaker.open_reason is not None
    assert (
        "the last 12 splits of source 's' gave no row; the last one: WorkerDied in infer, sour"
        in circuit_breaker.open_reason
    )


def test_the_pieces_of_one_killing_split_do_not_open_it() -> None:
    circuit_breaker = CircuitBreaker(LIMITS)
    for number in range(3):
        for piece in _pieces(_split(f"one {number}", 256)):
            assert not circuit_breaker.holds(_killing(piece))
        assert not circuit_breaker.holds(_finished(f"good {number}", [], rows=1))
    assert circuit_breaker.open_reason is None


def test_an_inbox_of_three_bad_files_does_not_open_it() -> None:
    circuit_breaker = CircuitBreaker(CircuitBreakerLimits())
    for number in range(3):
        assert not circuit_breaker.holds(_killing(_split(number)))
        assert not circuit_breaker.holds(_finished(f"raising {number}", [f"s3://b/{number}?version=1#0"]))
    assert circuit_breaker.open_reason is None


def test_replays_tombstones_and_a_limit_of_none_hold_nothing() -> None:
    circuit_breaker, off = CircuitBreaker(LIMITS), CircuitBreaker(None)
    for number in range(500):
        replay = Split.of("s", {"n": number, "replay": 1}, folder="f", records=1, bytes=1)
        receipt = _finished(number, [f"r/{number}"]).task.receipt
        assert not circuit_breaker.holds(Done(Task(replay, receipt=receipt)))
        assert not circuit_breaker.holds(_finished(f"t{number}", [f"r/{number}"], error="tombstone"))
        assert not off.holds(_finished(number, [f"r/{number}"]))
    assert circuit_breaker.open_reason is off.open_reason is None
