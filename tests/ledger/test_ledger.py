"""The ledger against a plain model of it, two instances, and a killed process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.contracts import ObjectVersion, Planned
from stream_infer.errors import ConfigError, Fatal, Fenced
from stream_infer.ledger import Ledger
from stream_infer.splits import Loss, Receipt, Reject, Split

WAYS = st.lists(st.sampled_from(["commit", "reject", "bisect", "leave", "twice"]), min_size=1, max_size=25)


def _open(folder: Path, **pipeline: str) -> Ledger:
    ledger = Ledger.open(f"sqlite:///{folder}/ledger.db", pipeline)
    ledger.acquire("test")
    return ledger


def _split(start: int, stop: int) -> Split:
    bounds = {"position_key": "t/0", "start": start, "stop": stop}
    return Split.of("s", bounds, folder="f", records=stop - start, bytes=stop - start)


def _receipt(split: Split) -> Receipt:
    return Receipt(split.split_id, "s", 1, split.bounds, file=f"f/{split.split_id}", rows=split.records)


@settings(max_examples=25)
@given(WAYS)
def test_every_record_has_one_fate_through_restarts(tmp_path_factory: pytest.TempPathFactory, ways: list[str]) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    ledger = _open(folder)
    expected = {"planned": 10 * len(ways), "committed": 0, "rejected": 0, "in_flight": 0, "lost": 0}
    prefix, contiguous = 0, True
    for number, way in enumerate(ways):
        split = _split(number * 10, number * 10 + 10)
        (planned,) = ledger.plan("s", [Planned(split, positions={"t/0": number * 10 + 10})])
        (tried,) = ledger.attempt([planned])
        assert tried.attempt == 1
        if way in ("commit", "twice"):
            assert ledger.commit([_receipt(split)])
            if way == "twice":
                assert ledger.commit([_receipt(split)]) == []
            expected["committed"] += 10
        elif way == "reject":
            ledger.reject(split, [Reject(f"r/{number}/{n}", "s", "infer", "E", "why", 1, 0.0) for n in range(10)])
            expected["rejected"] += 10
        elif way == "bisect":
            halves = [_child(split, 0, 5), _child(split, 5, 10)]
            ledger.bisect(split, halves)
            ledger.commit([_receipt(half) for half in halves])
            expected["committed"] += 10
        else:
            expected["in_flight"] += 10
            contiguous = False
        prefix = number * 10 + 10 if contiguous else prefix
    ledger.close()
    ledger = _open(folder)
    assert {name: ledger.audit()[name] for name in expected} == expected
    assert sum(split.records for split in ledger.unfinished()) == expected["in_flight"]
    assert ledger.prefix("s").get("t/0", 0) == prefix
    assert len(ledger.rejects()) == expected["rejected"]
    ledger.close()


def _child(split: Split, low: int, high: int) -> Split:
    start = split.bounds["start"]
    bounds = {"position_key": "t/0", "start": start + low, "stop": start + high}
    return split.child(bounds, records=high - low, bytes=high - low)


def test_an_object_version_is_claimed_once(tmp_path: Path) -> None:
    ledger = _open(tmp_path)
    claim = ObjectVersion("s3://b/k?version=1", 1, 0.0)
    split = Split.of("s", {"objects": []}, folder="f", records=1, bytes=1)
    ledger.plan("s", [Planned(split, objects=(claim,))])
    assert ledger.position("s").unseen(["s3://b/k?version=1", "s3://b/k?version=2"]) == {"s3://b/k?version=2"}
    assert [found["split_id"] for found in ledger.splits_for_object("s3://b/k?")] == [split.split_id]


def test_an_older_instance_is_fenced(tmp_path: Path) -> None:
    older, split = _open(tmp_path), _split(0, 10)
    older.plan("s", [Planned(split, positions={"t/0": 10})])
    newer = _open(tmp_path)
    for call in (lambda: older.attempt([split]), lambda: older.commit([_receipt(split)])):
        with pytest.raises(Fenced):
            call()
    assert newer.commit([_receipt(split)])


def test_a_loss_that_was_never_planned_counts(tmp_path: Path) -> None:
    ledger = _open(tmp_path)
    ledger.plan("s", [Planned(None, positions={"t/0": 7}, losses=(Loss("k", "s", "expired", 7),))])
    assert ledger.audit()["lost"] == 7
    assert [loss.reason for loss in ledger.losses()] == ["expired"]


def test_a_changed_setting_is_refused_once_work_is_planned(tmp_path: Path) -> None:
    _open(tmp_path, **{"sink.url": "s3://a"}).close()
    ledger = _open(tmp_path, **{"sink.url": "s3://b"})
    ledger.plan("s", [Planned(_split(0, 10), positions={"t/0": 10})])
    ledger.close()
    with pytest.raises(Fatal, match="start afresh"):
        _open(tmp_path, **{"sink.url": "s3://c"})


@pytest.mark.parametrize("url", ["mysql://u:hunter2@h/d", "nonsense hunter2", "sqlite:///:memory:"])
def test_a_url_that_cannot_be_used_is_told_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Ledger.open(url, {})
    assert "hunter2" not in str(raised.value)


def test_what_was_committed_before_a_kill_is_there_after_it(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from test_ledger import _open, _split, _receipt, Planned\n"
        "ledger = _open(Path(sys.argv[1]))\n"
        "for n in range(10**6):\n"
        "    split = _split(n, n + 1); ledger.plan('s', [Planned(split, positions={'t/0': n + 1})])\n"
        "    ledger.commit([_receipt(split)]); print(n, flush=True)\n"
    )
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), str(Path(__file__).parent)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert process.stdout is not None
    told = [int(process.stdout.readline()) for _ in range(20)]
    process.send_signal(signal.SIGKILL)
    told += [int(line) for line in process.stdout.read().split()]
    process.wait()
    ledger = _open(tmp_path)
    counts = ledger.audit()
    assert counts["committed"] >= len(told)
    assert counts["planned"] == counts["committed"] + counts["in_flight"] <= len(told) + 2
