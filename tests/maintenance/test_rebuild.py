"""A ledger rebuilt from receipts: work that continues with it delivers every record once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_infer import config
from stream_infer.bounds import LogRange, parse, record_ids
from stream_infer.connectors.files.settings import Discover, FilesSettings
from stream_infer.connectors.files.source import FilesSource
from stream_infer.connectors.kafka.source import KafkaSource
from stream_infer.contracts import PlanBudget, Source
from stream_infer.driver.bisection import pieces
from stream_infer.intervals import IntervalSet, cut
from stream_infer.ledger import Ledger
from stream_infer.maintenance.rebuild import rebuild, sort_receipts
from stream_infer.rejects import RejectQuery, State
from stream_infer.splits import Receipt, Reject, Split
from tests.connectors.files.planning_kit import NOW
from tests.connectors.kafka.test_source import FakeCluster, source_of

GOOD, BAD, KILLING = "good", "bad", "killing"
END = 24
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # a ledger syncs every transaction; here many lives pass


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30))), st.integers(0, 30), st.integers(0, 30))
def test_what_is_covered_and_its_holes_are_the_whole(spans: list[tuple[int, int]], start: int, stop: int) -> None:
    intervals = IntervalSet()
    for number, (low, high) in enumerate(spans):
        before = {at for other in spans[:number] for at in range(*other)}
        assert intervals.touches({"k": (low, high)}) == bool(before & set(range(low, high)))
        intervals.add({"k": (low, high)})
    covered = {at for low, high in spans for at in range(low, high)}
    holes = [at for low, high in intervals.holes("k", start, stop) for at in range(low, high)]
    assert holes == [at for at in range(start, stop) if at not in covered]
    assert [piece for piece in cut((start, stop), 4) if piece[1] - piece[0] > 4] == []


@dataclass
class Outside:
    """The state outside the ledger: the nature of each record, and the files of the sink."""

    nature: list[str]
    files: dict[str, Receipt] = field(default_factory=dict)
    rows: dict[str, list[int]] = field(default_factory=dict)

    def write(self, split: Split, offsets: Sequence[int], rejects: Sequence[Reject]) -> Receipt:
        if split.split_id in self.files:
            return self.files[split.split_id]
        name = f"{split.folder}/{split.split_id}.parquet"
        receipt = Receipt(
            split.split_id, split.source, 1, split.bounds, rows=len(offsets), rejects=tuple(rejects), written_at=NOW
        )
        if offsets:
            receipt = self.files[split.split_id] = replace(receipt, file=name)
            self.rows[split.split_id] = list(offsets)
        return receipt

    def retire(self, split: Split) -> None:
        name = f"{split.folder}/{split.split_id}.parquet"
        retired = Receipt(split.split_id, split.source, 1, split.bounds, name, written_at=NOW, retired=True)
        self.files.setdefault(split.split_id, retired)

    def process(self, source: Source, split: Split) -> Receipt | list[Split] | None:
        """The receipt of a split, the pieces of one that kills, or None where a single killing record is rejected."""
        receipt = self.files.get(split.split_id)
        offsets = range(split.bounds["start"], split.bounds["stop"])
        if receipt is not None and not receipt.retired:
            return receipt
        if receipt is not None or any(self.nature[offset] == KILLING for offset in offsets):
            self.retire(split)
            return pieces(split, source.reader()) or None
        rejects = [
            Reject(name, split.source, "infer", "E", "r", 1, 1.0)
            for offset, name in zip(offsets, record_ids(parse(split.bounds)), strict=True)
            if self.nature[offset] == BAD
        ]
        return self.write(split, [offset for offset in offsets if self.nature[offset] == GOOD], rejects)


def _ledger(folder: Path | str) -> Ledger:
    ledger = Ledger.open(f"sqlite:///{folder}/ledger.db", {})
    ledger.acquire("test")
    return ledger


def _plan(source: KafkaSource, ledger: Ledger, most: int) -> None:
    for part in source.plan(ledger.position(source.name), PlanBudget(100, most, 2**30, 0.0, NOW)):
        ledger.plan(source.name, [part])


def _replay(source: Source, ledger: Ledger) -> None:
    ledger.request_replay(RejectQuery())
    asked = ledger.replayable(source.name, 100)
    again = [(item, split.for_replay(item.reject, item.replays + 1)) for item, split in asked]
    if again:
        ledger.replay(source.name, again)


def _work(source: Source, ledger: Ledger, world: Outside, split: Split, upto: str) -> None:
    """Process one split up to the point where the life ends."""
    if upto == "planned":
        return
    outcome = world.process(source, split)
    if upto == "written":
        return
    if isinstance(outcome, Receipt):
        ledger.commit([outcome])
    elif outcome:
        ledger.bisect(split, outcome)
    else:
        names = list(record_ids(parse(split.bounds)))
        ledger.reject(split, [Reject(name, source.name, "read", "Poisoned", "r", 1, 1.0) for name in names])


def _to_the_end(source: KafkaSource, ledger: Ledger, world: Outside) -> None:
    _plan(source, ledger, 7)
    while open_splits := ledger.unfinished():
        for split in open_splits:
            _work(source, ledger, world, split, "committed")


def _whole(ledger: Ledger, world: Outside) -> None:
    rows = Counter(offset for offsets in world.rows.values() for offset in offsets)
    assert set(rows.values()) <= {1}, rows
    rejected = {
        int(item.reject.record_id.rpartition("/")[2]) for item in ledger.rejected(RejectQuery(state=State.OPEN))
    }
    assert rejected.isdisjoint(rows)
    assert rejected | rows.keys() == set(range(len(world.nature)))
    counts = ledger.audit()
    assert counts == ledger.recount()
    assert counts == {
        "planned": len(world.nature),
        "committed": len(rows),
        "rejected": len(rejected),
        "in_flight": 0,
        "lost": 0,
    }
    assert ledger.unplanned(list(world.files)) == set()


@settings(max_examples=25, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data())
def test_whatever_is_left_of_a_life_goes_on_exactly_once(data: st.DataObject) -> None:
    nature = data.draw(st.lists(st.sampled_from([GOOD, GOOD, BAD, KILLING]), min_size=END, max_size=END))
    world, cluster = Outside(nature), FakeCluster([data.draw(st.integers(1, END))])
    source = source_of(cluster)
    fates = st.sampled_from(["planned", "written", "committed", "committed", "committed"])
    for _ in range(data.draw(st.integers(1, 2))):
        with TemporaryDirectory(dir=MEMORY) as folder:
            ledger = _ledger(folder)
            rebuild(ledger, list(world.files.values()), [source], 6)
            assert {split.split_id for split in ledger.unfinished()}.isdisjoint(world.rows)
            for _ in range(data.draw(st.integers(0, 4))):
                _plan(source, ledger, data.draw(st.integers(1, 9)))
                for split in ledger.unfinished():
                    _work(source, ledger, world, split, data.draw(fates))
                if data.draw(st.booleans()):  # somebody repairs what made some records fail
                    for offset in data.draw(st.sets(st.integers(0, END - 1), max_size=4)):
                        nature[offset] = GOOD
                    _replay(source, ledger)
            ledger.close()  # and is lost
    cluster.logs["t", 0] = (0, END)
    with TemporaryDirectory(dir=MEMORY) as folder:
        ledger, source = _ledger(folder), source_of(cluster)
        rebuild(ledger, list(world.files.values()), [source], 6)
        _to_the_end(source, ledger, world)
        _whole(ledger, world)
        _replay(source, ledger)
        _to_the_end(source, ledger, world)
        _whole(ledger, world)
        ledger.close()


def _committed(source: Source, split: Split, world: Outside) -> Receipt:
    outcome = world.process(source, split)
    assert isinstance(outcome, Receipt)
    return outcome


def test_a_missing_range_is_planned_exactly_as_its_neighbours_leave_it(tmp_path: Path) -> None:
    world, source = Outside([GOOD] * 40), source_of(FakeCluster([40]))
    planned: list[Split] = []
    for part in source.plan(_ledger(tmp_path).position("s"), PlanBudget(4, 10, 2**30, 0.0, NOW)):
        planned += [part.split] if part.split else []
    for split in (planned[0], planned[2], planned[3]):
        _committed(source, split, world)
    (tmp_path / "new").mkdir()
    ledger = _ledger(tmp_path / "new")
    result = rebuild(ledger, list(world.files.values()), [source_of(FakeCluster([40]))], 100)
    assert (result.committed, result.planned, result.rows) == (3, 1, 30)
    assert [(split.split_id, split.folder) for split in ledger.unfinished()] == [
        (planned[1].split_id, planned[1].folder)
    ]
    assert ledger.committed_offsets("s")["t/0"] == 10
    ledger.close()


def test_a_stream_read_from_latest_begins_where_it_began(tmp_path: Path) -> None:
    cluster, world = FakeCluster([10, 10]), Outside([GOOD] * 40)
    source = source_of(cluster, start="latest")
    ledger = _ledger(tmp_path)
    _plan(source, ledger, 5)
    cluster.logs |= {("t", 0): (0, 20), ("t", 1): (0, 13)}
    _plan(source, ledger, 5)
    (done,) = (split for split in ledger.unfinished() if split.bounds["start"] == 15)
    _committed(source, done, world)
    ledger.close()
    cluster.committed = lambda group, partitions: {("t", 1): 10}  # type: ignore[method-assign]
    (tmp_path / "new").mkdir()
    ledger, source = _ledger(tmp_path / "new"), source_of(cluster, start="latest")
    rebuild(ledger, list(world.files.values()), [source], 100)
    _plan(source, ledger, 5)
    left = sorted(
        (split.bounds["partition"], split.bounds["start"], split.bounds["stop"]) for split in ledger.unfinished()
    )
    assert left == [(0, 10, 15), (1, 10, 13)]
    ledger.close()


def _files(folder: Path) -> FilesSource:
    settings = FilesSettings(name="inbox", kind="files", url=str(folder), format="csv", discover=Discover(settle=0.0))
    return FilesSource.from_config(settings, pipeline="p", limits=config.Limits())


def _objects(source: FilesSource, ledger: Ledger) -> list[Split]:
    splits = []
    for part in source.plan(ledger.position("inbox"), PlanBudget(9, 9, 2**20, 0.0, NOW)):
        splits += ledger.plan("inbox", [part])
    return splits


def _receipt(split: Split, rows: int, rejects: Sequence[Reject] = (), **more: Any) -> Receipt:
    file = f"{split.folder}/{split.split_id}.parquet"
    return Receipt(split.split_id, "inbox", 1, split.bounds, file, rows, tuple(rejects), written_at=NOW, **more)


def test_objects_without_a_receipt_are_new_and_rows_without_one_are_planned(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in "abc":
        (tmp_path / "in" / f"{name}.csv").write_text("n\n" + "".join(f"{number}\n" for number in range(16)))
    source = _files(tmp_path / "in")
    (split,) = _objects(source, _ledger(tmp_path))
    first, second = (half for half in split.halves() or ())
    rows = pieces(replace(first, bounds={"objects": split.bounds["objects"][:1]}), source.reader())
    assert len(rows) == 16
    receipts = [_receipt(split, 0, retired=True), _receipt(rows[3], 1), _receipt(rows[4], 1)]
    (tmp_path / "new").mkdir()
    ledger, source = _ledger(tmp_path / "new"), _files(tmp_path / "in")
    result = rebuild(ledger, receipts, [source], 100)
    assert (result.committed, result.bisected) == (2, 1)
    assert [split.bounds["rows"] for split in ledger.unfinished()] == [[0, 3], [5, 16]]
    (new,) = _objects(source, ledger)
    assert [Path(item["key"]).name for item in new.bounds["objects"]] == ["b.csv", "c.csv"]
    # nothing of the retired one stands elsewhere: it is divided anew, as it was
    (tmp_path / "third").mkdir()
    ledger = _ledger(tmp_path / "third")
    rebuild(ledger, receipts[:1], [source], 100)
    assert [item.split_id for item in ledger.unfinished()] == [split.split_id]
    assert _objects(_files(tmp_path / "in"), ledger) == []
    assert second.bounds["objects"]


def test_a_retired_name_stands_unless_its_records_do_elsewhere() -> None:
    def of(start: int, stop: int, **more: Any) -> Receipt:
        bounds = LogRange("numbers://k", start, stop, replay=more.pop("replay", 0))
        return Receipt(f"{bounds}", "s", 1, bounds.to_json(), "f/x.parquet", written_at=more.pop("at", 1.0), **more)

    outer, inner, single = of(0, 16, retired=True), of(4, 8, retired=True), of(20, 21, retired=True)
    replayed, again = of(20, 21, replay=1, retired=True), of(20, 21, replay=2, rows=1)
    sorted_receipts = sort_receipts([outer, inner, single, replayed, of(8, 9, rows=1), of(20, 21, replay=2, rows=1)])
    assert sorted_receipts.undivided == [inner]
    assert sorted(item.split_id for item in sorted_receipts.divided) == sorted(
        item.split_id for item in (outer, single, replayed)
    )
    assert sorted_receipts.replays == [again]
    third = of(20, 21, replay=3, retired=True)
    assert sort_receipts([single, replayed, third]).undivided == [third]
