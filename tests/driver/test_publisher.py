"""The publisher of rejects: it retries each page, continues after a restart and never delays the main pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from stream_infer.contracts import Planned
from stream_infer.driver.publisher import DeadLetterPublisher, Samples
from stream_infer.errors import Retryable
from stream_infer.ledger import Ledger
from stream_infer.rejects import DeadLetter, Original
from stream_infer.splits import Receipt, Reject, Split
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry.metrics import Metrics


class Target:
    """A target that refuses everything while ``away``."""

    name, originals = "target", 3
    away = False

    def __init__(self) -> None:
        self.records: list[str] = []
        self.closed = False

    def publish(self, letters: Sequence[DeadLetter]) -> None:
        if self.away:
            raise Retryable("the broker is away")
        self.records += [f"{item.reject.record_id}={item.original and item.original.value!r}" for item in letters]

    def close(self) -> None:
        self.closed = True


class Reader:
    def original(self, split: Split, reject: Reject, most: int) -> Original:
        return Original(value=reject.record_id.encode()[:most])


def _ledger(folder: Path) -> Ledger:
    ledger = Ledger.open(f"sqlite:///{folder}/ledger.db", {})
    ledger.acquire("test")
    return ledger


def _reject(ledger: Ledger, start: int, count: int) -> None:
    bounds = {"position_key": "n", "start": start, "stop": start + count}
    split = Split.of("s", bounds, folder="f", records=count, bytes=count)
    ledger.plan("s", [Planned(split)])
    rejects = tuple(Reject(f"name-{start + n}", "s", "read", "E", "r", 1, 1.0) for n in range(count))
    ledger.commit([Receipt(split.split_id, "s", 1, bounds, rejects=rejects)])


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_target_that_is_away_is_told_when_it_is_back(tmp_path: Path) -> None:
    ledger, target = _ledger(tmp_path), Target()
    _reject(ledger, 0, 2)
    target.away = True
    target.name, metrics = "kafka:broker/rejects", Metrics()
    publisher = DeadLetterPublisher(target, ledger, {"s": Reader()}, metrics)  # type: ignore[dict-item]
    publisher.start()
    _until(lambda: publisher.trouble == "kafka:broker/rejects: the broker is away")
    target.away = False
    _until(lambda: publisher.trouble is None)
    _reject(ledger, 2, 1)
    publisher.finish(30)
    assert target.records == [f"name-{number}=b'nam'" for number in range(3)]
    assert metrics.value(m.REJECTS_PUBLISHED, "kafka") == 3
    assert target.closed
    ledger.close()


def test_what_a_failing_target_missed_is_told_by_the_next_start(tmp_path: Path) -> None:
    ledger, target = _ledger(tmp_path), Target()
    _reject(ledger, 0, 150)
    target.away = True
    publisher = DeadLetterPublisher(target, ledger, {})
    publisher.start()
    publisher.finish(30)
    assert not publisher.is_alive()
    ledger.close()
    ledger, target.away = _ledger(tmp_path), False
    again = DeadLetterPublisher(target, ledger, {})
    again.start()
    again.finish(30)
    assert len(target.records) == len(set(target.records)) == 150
    assert ledger.unpublished("target", 9) == []
    ledger.close()


def test_an_instance_that_lost_the_ledger_tells_no_more(tmp_path: Path) -> None:
    ledger, target = _ledger(tmp_path), Target()
    newer = _ledger(tmp_path)
    _reject(newer, 0, 1)
    publisher = DeadLetterPublisher(target, ledger, {})
    publisher.start()
    publisher.join(30)
    assert not publisher.is_alive()
    assert target.records == ["name-0=None"]  # twice at most: the newer one tells it as well
    newer.close()
    ledger.close()


def test_samples_are_kept_once_and_cut(tmp_path: Path) -> None:
    ledger = _ledger(tmp_path)
    _reject(ledger, 0, 2)
    publisher = DeadLetterPublisher(Samples(ledger, 5), ledger, {"s": Reader()})  # type: ignore[dict-item]
    publisher.start()
    publisher.finish(30)
    assert ledger.rejected_record("name-1")[0][0].sample == b"name-"
    ledger.close()
