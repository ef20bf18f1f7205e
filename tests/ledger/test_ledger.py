"""The ledger's promises one by one: fencing, settings, losses, kills; on SQLite and on PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from stream_infer.contracts import ObjectVersion, Planned
from stream_infer.errors import ConfigError, Fatal, Fenced, Retryable
from stream_infer.ledger import Ledger, schema
from stream_infer.maintenance.where import where
from stream_infer.ops.parts.process import free_port
from stream_infer.splits import Loss, Receipt, Reject, Split


def _open(url: str, **pipeline: str) -> Ledger:
    ledger = Ledger.open(url, pipeline)
    ledger.acquire("test")
    return ledger


def _split(start: int, stop: int) -> Split:
    bounds = {"position_key": "t/0", "start": start, "stop": stop}
    return Split.of("s", bounds, folder="f", records=stop - start, bytes=stop - start)


def _receipt(split: Split) -> Receipt:
    return Receipt(split.split_id, "s", 1, split.bounds, file=f"f/{split.split_id}", rows=split.records)


def _planned(ledger: Ledger, split: Split) -> Split:
    (planned,) = ledger.plan("s", [Planned(split, positions={"t/0": split.bounds["stop"]})])
    return planned


def test_an_object_version_is_claimed_once(url: str) -> None:
    ledger = _open(url)
    claim = ObjectVersion("s3://b/k?version=1", 1, 0.0)
    split = Split.of("s", {"objects": []}, folder="f", records=2, bytes=1)
    ledger.plan("s", [Planned(split, objects=(claim,))])
    ledger.plan("s", [Planned(split, objects=(claim,))])
    assert ledger.position("s").unseen(["s3://b/k?version=1", "s3://b/k?version=2"]) == {"s3://b/k?version=2"}
    assert ledger.position("other").unseen(["s3://b/k?version=1"]) == {"s3://b/k?version=1"}
    assert [row["split_id"] for row in ledger.splits_for_object("s3://b/k?")] == [split.split_id]
    assert ledger.splits_for_object("s3://b/kk") == []
    half = split.child({"objects": [], "rows": [0, 1]}, records=1, bytes=1)
    ledger.bisect(split, [half])
    assert [row["split_id"] for row in ledger.splits_for_object("s3://b/k")] == [split.split_id, half.split_id]
    ledger.close()


def test_pieces_of_pieces_are_acknowledged_when_all_of_what_was_planned_is_final(url: str) -> None:
    """They may be rows of one object, which must stay until the last of them is safe."""
    ledger, whole = _open(url), _split(0, 8)
    _planned(ledger, whole)

    def halves(split: Split) -> list[Split]:
        low, high = split.bounds["start"], split.bounds["stop"]
        middle = (low + high) // 2
        bounds = [{**split.bounds, "start": start, "stop": stop} for start, stop in ((low, middle), (middle, high))]
        return ledger.bisect(split, [split.child(each, records=middle - low, bytes=1) for each in bounds])

    left, right = halves(whole)
    quarters = halves(left)
    ledger.commit([_receipt(split) for split in quarters])
    assert ledger.unacknowledged("s", 10) == []
    ledger.commit([_receipt(right)])
    assert {split.split_id for split in ledger.unacknowledged("s", 10)} == {
        split.split_id for split in (*quarters, right)
    }
    ledger.close()


def test_an_older_instance_is_fenced(url: str) -> None:
    older, split = _open(url), _split(0, 10)
    _planned(older, split)
    newer = _open(url)
    calls = (
        lambda: older.plan("s", [Planned(_split(10, 20), positions={"t/0": 20})]),
        lambda: older.attempt([split]),
        lambda: older.commit([_receipt(split)]),
        lambda: older.bisect(split, [_split(0, 5), _split(5, 10)]),
        lambda: older.reject(split, []),
        lambda: older.acknowledge([split.split_id]),
    )
    for call in calls:
        with pytest.raises(Fenced, match="belongs to"):
            call()
    assert older.audit()["in_flight"] == 10
    assert [split.attempt for split in newer.unfinished()] == [0]
    assert newer.commit([_receipt(split)])
    older.close()
    newer.close()


def test_nothing_is_written_before_the_ledger_is_acquired(url: str) -> None:
    ledger = Ledger.open(url, {})
    with pytest.raises(Fenced):
        ledger.plan("s", [Planned(_split(0, 10))])
    ledger.close()


def test_two_instances_race_and_each_split_is_committed_once(url: str) -> None:
    older = _open(url)
    splits = [_planned(older, _split(n, n + 1)) for n in range(40)]
    newer = Ledger.open(url, {})

    def commit(ledger: Ledger) -> list[str]:
        done: list[str] = []
        with contextlib.suppress(Fenced):
            for split in splits:
                done += [final.split_id for final in ledger.commit([_receipt(split)])]
        return done

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(commit, older)
        newer.acquire("newer")
        done = [*pool.submit(commit, newer).result(), *first.result()]
    assert sorted(done) == sorted(split.split_id for split in splits)
    assert newer.audit()["committed"] == 40
    older.close()
    newer.close()


def test_a_record_has_its_split_its_file_and_its_reject(url: str) -> None:
    ledger, split = _open(url), _split(0, 10)
    _planned(ledger, split)
    reject = Reject("kafka://c/t/0/3", "s", "infer", "ValueError", "why", 1, 0.0)
    ledger.commit([replace(_receipt(split), rows=9, rejects=(reject,), model="m@1")])
    assert [status.reject for status in ledger.rejected_record("kafka://c/t/0/3")[0]] == [reject]
    assert ledger.rejected_record("kafka://c/t/0/4")[0] == []
    (row,) = ledger.splits_for("t/0", 3)
    assert (row["state"], row["rows"], row["rejected"], row["model"]) == ("committed", 9, 1, "m@1")
    assert ledger.splits_for("t/0", 10) == ledger.splits_for("t/1", 3) == []
    assert list(ledger.files()) == [(split.split_id, "committed", f"f/{split.split_id}", 9)]
    assert [shown["split_id"] for shown in ledger.recent(1)] == [split.split_id]
    source = ledger.status()["sources"]["s"]
    assert (source["rows"], source["rejected"], source["in_flight"], source["positions"]) == (9, 1, 0, {"t/0": 10})
    ledger.close()


def test_a_lost_record_has_its_reason(url: str) -> None:
    ledger, split = _open(url), _split(10, 20)
    _planned(ledger, split)
    ledger.plan("s", [Planned(None, positions={"t/0": 10}, losses=(Loss("kafka://None/t/0/3", "s", "expired", 7),))])
    late_losses = (Loss("kafka://None/t/0/10", "s", "expired", 2),)
    ledger.commit([replace(_receipt(split), rows=8, losses=late_losses)])
    states = {
        offset: [(item.state, item.reason) for item in where(ledger, f"t/0/{offset}")] for offset in (2, 3, 9, 10, 12)
    }
    assert states == {
        2: [],
        3: [("lost", "expired")],
        9: [("lost", "expired")],
        10: [("lost", "expired")],
        12: [("committed", None)],
    }
    ledger.close()


def test_gaps_between_offsets_do_not_stay_in_flight(url: str) -> None:
    ledger, split = _open(url), _split(0, 10)
    _planned(ledger, split)
    assert ledger.audit()["planned"] == 10
    ledger.commit([replace(_receipt(split), rows=4)])
    assert ledger.audit() == {"planned": 4, "committed": 4, "rejected": 0, "in_flight": 0, "lost": 0}
    ledger.close()


def test_a_receipt_of_a_split_that_was_never_planned_is_refused(url: str) -> None:
    ledger, split = _open(url), _split(0, 10)
    _planned(ledger, split)
    with pytest.raises(Fatal, match="never planned"):
        ledger.commit([_receipt(split), _receipt(_split(10, 20))])
    assert ledger.audit()["committed"] == 0
    ledger.close()


def test_a_receipt_of_a_file_without_rows_commits_nothing(url: str) -> None:
    """A name that was taken, or a split that nobody could process: its records are in no file."""
    ledger, split = _open(url), _split(0, 10)
    _planned(ledger, split)
    why = Reject("", "s", "infer", "WorkerDied", "it died", 3, 0.0)
    assert ledger.commit([replace(_receipt(split), retired=True, rows=0)]) == []
    assert ledger.commit([replace(_receipt(split), poisoned=why, rows=0)]) == []
    assert ledger.audit()["in_flight"] == 10
    ledger.close()


def test_a_changed_setting_is_refused_once_work_is_planned(url: str) -> None:
    _open(url, **{"sink.url": "s3://a"}).close()
    ledger = _open(url, **{"sink.url": "s3://u:hunter2@b?key=hunter2"})
    _planned(ledger, _split(0, 10))
    ledger.close()
    _open(url, **{"sink.url": "s3://u:other@b?key=hunter2"}).close()
    with pytest.raises(Fatal, match=r"sink\.url was .*start afresh") as raised:
        _open(url, **{"sink.url": "s3://u:hunter3@c"})
    assert "hunter" not in str(raised.value)


def test_a_renamed_source_is_refused_and_a_new_one_is_not(url: str) -> None:
    inbox = {"sources.inbox.kind": "files", "sources.inbox.url": "s3://in"}
    ledger = _open(url, **inbox)
    _planned(ledger, _split(0, 10))
    ledger.close()
    with pytest.raises(Fatal, match=r"sources\.post was named sources\.inbox"):
        _open(url, **{name.replace("inbox", "post"): value for name, value in inbox.items()})
    with pytest.raises(Fatal, match=r"sources\.inbox\.kind"):
        _open(url, **{**inbox, "sources.inbox.kind": "kafka"})
    _open(url, **inbox, **{"sources.post.kind": "files", "sources.post.url": "s3://in"}).close()


def test_a_newer_schema_is_refused(url: str) -> None:
    ledger = _open(url)
    with ledger._writers.begin() as connection:
        connection.execute(schema.state.update().values(schema_version=schema.VERSION + 1))
    ledger.close()
    with pytest.raises(Fatal, match="newer"):
        Ledger.open(url, {})


@pytest.mark.parametrize("bad", ["mysql://u:hunter2@h/d", "nonsense hunter2", "sqlite:///:memory:"])
def test_a_url_that_cannot_be_used_is_refused_without_its_password(bad: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Ledger.open(bad, {})
    assert "hunter2" not in str(raised.value)


def test_a_database_that_is_away_is_waited_for_and_its_password_kept() -> None:
    with pytest.raises(Retryable) as raised:
        Ledger.open(f"postgresql+psycopg://u:hunter2@127.0.0.1:{free_port()}/d", {})
    assert "hunter2" not in str(raised.value)


def test_a_locked_database_is_retryable_and_nothing_is_half_written(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    ledger = Ledger.open(url, {}, busy_timeout=0.05)
    ledger.acquire("test")
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Retryable, match="locked"):
            _planned(ledger, _split(0, 10))
        assert ledger.audit()["planned"] == 0
    _planned(ledger, _split(0, 10))
    ledger.close()


_WRITER = """
import sys
from stream_infer.contracts import Planned
from stream_infer.ledger import Ledger
from stream_infer.splits import Receipt, Split
ledger = Ledger.open(sys.argv[1], {})
ledger.acquire("writer")
for n in range(10**6):
    bounds = {"position_key": "t/0", "start": n * 100, "stop": n * 100 + 100}
    at = [{**bounds, "start": n * 100 + m, "stop": n * 100 + m + 1} for m in range(100)]
    splits = [Split.of("s", one, folder="f", records=1, bytes=1) for one in at]
    steps = [Planned(split, positions={"t/0": split.bounds["stop"]}) for split in splits]
    ledger.plan("s", steps)
    ledger.commit([Receipt(split.split_id, "s", 1, split.bounds, file="f", rows=1) for split in splits])
    print(n, flush=True)
"""


@pytest.mark.parametrize("batches", [1, 4, 9])
def test_a_kill_leaves_whole_transactions(url: str, batches: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, url],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    written = [int(process.stdout.readline()) for _ in range(batches)]
    process.send_signal(signal.SIGKILL)  # it is in the middle of the next plan or commit
    written += [int(line) for line in process.stdout.read().split()]
    process.wait()
    ledger = _open(url)
    counts = ledger.audit()
    assert counts == ledger.recount()
    assert counts["committed"] in (len(written) * 100, len(written) * 100 + 100)
    assert counts["in_flight"] in (0, 100)
    assert ledger.position("s").get("t/0") == counts["planned"]
    assert ledger.committed_offsets("s") == {"t/0": counts["committed"]}
    ledger.close()
