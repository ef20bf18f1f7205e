"""What is particular to Parquet files: footers, types, listings, and files that are not ours."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_infer.connectors.parquet.footer import Tail, to_bytes
from stream_infer.connectors.parquet.settings import ParquetSettings
from stream_infer.connectors.parquet.sink import ParquetSink
from stream_infer.connectors.storage.local import LocalStore
from stream_infer.errors import Retryable
from stream_infer.splits import Loss, Receipt, Reject, Split

FOLDER = "date=2026-01-01"
NAMES = st.text(max_size=20)
REJECTS = st.builds(Reject, NAMES, NAMES, NAMES, NAMES, st.text(), st.integers(0, 9), st.floats(0, 1e9))
LOSSES = st.builds(Loss, NAMES, NAMES, NAMES, st.integers(0, 9))


@pytest.fixture
def sink(tmp_path: Path) -> ParquetSink:
    return ParquetSink.from_config(ParquetSettings(url=str(tmp_path / "out")))


def _split(number: int = 0) -> Split:
    return Split.of("s", {"n": number}, folder=FOLDER, records=1, bytes=1)


def _receipt(split: Split, **fields: object) -> Receipt:
    return replace(Receipt(split.split_id, "s", 1, split.bounds), **fields)  # type: ignore[arg-type]


def _rows(*values: object) -> pa.Table:
    return pa.table({"label": list(values)})


@settings(max_examples=40, deadline=None)
@given(st.lists(REJECTS, max_size=5), st.lists(LOSSES, max_size=5))
def test_the_footer_gives_the_receipt_back(rejects: list[Reject], losses: list[Loss]) -> None:
    receipt = _receipt(_split(), file="f/x", rows=1, rejects=tuple(rejects), losses=tuple(losses))
    content = to_bytes(_rows("a"), receipt)
    start = Tail.first_guess(len(content))
    assert Tail(len(content), content[start:]).receipt() == (replace(receipt, bytes_out=len(content)), 1)


def test_a_footer_longer_than_the_first_look(sink: ParquetSink) -> None:
    split = _split()
    rejects = tuple(Reject(f"r/{number}", "s", "infer", "E", "x" * 900, 1, 0.0) for number in range(500))
    written = sink.write(split, _rows("a"), _receipt(split, rejects=rejects))
    assert written.bytes_out > 400_000
    assert sink.find(split) == written


def test_files_of_one_folder_read_as_one(sink: ParquetSink, tmp_path: Path) -> None:
    pandas = {"pandas": "{}"}
    tables = [
        pa.table({"label": pa.array(["a"], pa.large_string()), "tags": pa.array([["x"]], pa.list_(pa.string()))}),
        pa.table(
            {
                "label": pa.array(["b"], pa.string()).dictionary_encode(),
                "tags": pa.array([["y"]], pa.large_list(pa.large_string())),
            }
        ).replace_schema_metadata(pandas),
        pa.table({"label": pa.array([None], pa.string_view()), "tags": pa.array([None], pa.list_(pa.string()))}),
    ]
    for number, table in enumerate(tables):
        sink.write(_split(number), table, _receipt(_split(number)))
    schemas = {str(pq.read_schema(path).remove_metadata()) for path in (tmp_path / "out").rglob("*.parquet")}
    assert len(schemas) == 1
    assert all(b"pandas" not in pq.read_metadata(path).metadata for path in (tmp_path / "out").rglob("*.parquet"))
    sink.retire(_split(9))
    whole = pyarrow.dataset.dataset(tmp_path / "out", partitioning="hive").to_table()
    assert sorted(map(str, whole["label"].to_pylist())) == ["None", "a", "b"]


def test_embeddings_keep_their_length(sink: ParquetSink, tmp_path: Path) -> None:
    kind = pa.list_(pa.float32(), 3)
    sink.write(_split(), pa.table({"embedding": pa.array([[1, 2, 3]], kind)}), _receipt(_split()))
    (path,) = (tmp_path / "out").rglob("*.parquet")
    assert pq.read_table(path).schema.field("embedding").type == kind


def test_row_groups_are_bounded(sink: ParquetSink, tmp_path: Path) -> None:
    sink.write(_split(), pa.table({"n": range(100_000)}), _receipt(_split()))
    (path,) = (tmp_path / "out").rglob("*.parquet")
    groups = pq.read_metadata(path)
    assert [groups.row_group(at).num_rows for at in range(groups.num_row_groups)] == [65_536, 34_464]


def test_a_later_attempt_without_rows_adopts_the_file_of_an_earlier_one(sink: ParquetSink) -> None:
    split = _split()
    written = sink.write(split, _rows("a", "b"), _receipt(split))
    assert sink.write(split, _rows(), _receipt(split, attempt=2)) == written


def test_a_write_whose_reply_is_lost_is_adopted(sink: ParquetSink, monkeypatch: pytest.MonkeyPatch) -> None:
    create = LocalStore.create

    def lose_the_reply(self: LocalStore, key: str, data: bytes) -> bool:
        create(self, key, data)
        monkeypatch.undo()
        raise Retryable("no reply")

    monkeypatch.setattr(LocalStore, "create", lose_the_reply)
    with pytest.raises(Retryable):
        sink.write(_split(), _rows("a"), _receipt(_split(), attempt=1))
    assert sink.write(_split(), _rows("a", "b"), _receipt(_split(), attempt=2)).attempt == 1


def test_a_listing_of_many_files_misses_none(sink: ParquetSink, tmp_path: Path) -> None:
    written = sink.write(_split(), _rows("a"), _receipt(_split()))
    assert written.file is not None
    original = tmp_path / "out" / written.file
    for number in range(2100):
        os.link(original, original.with_name(f"copy-{number}.parquet"))
    receipts = list(sink.receipts())
    # a copied file is a file of its own: its rows are there twice, and the audit must see that
    assert len({receipt.split_id for receipt in receipts}) == len(receipts) == 2101


def test_files_of_others_are_listed_without_a_receipt(
    sink: ParquetSink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ours = sink.write(_split(), _rows("a"), _receipt(_split()))
    folder = tmp_path / "out" / FOLDER
    pq.write_table(_rows("x", "y"), folder / "foreign.parquet")
    (folder / "empty.parquet").write_bytes(b"")
    (folder / "text.parquet").write_bytes(b"no Parquet at all")
    (folder / "broken.parquet").write_bytes(b"PAR1" + b"\xff" * 40 + (40).to_bytes(4, "little") + b"PAR1")
    (folder / "lying.parquet").write_bytes((10**9).to_bytes(4, "little") + b"PAR1")
    (folder / "_SUCCESS").touch()
    receipts_by_id = {Path(item.key).stem: (receipt, rows) for item, receipt, rows in sink.listing()}
    assert receipts_by_id.pop(_split().split_id) == (ours, 1)
    assert receipts_by_id == {
        "foreign": (None, 2),
        "empty": (None, 0),
        "text": (None, 0),
        "broken": (None, 0),
        "lying": (None, 0),
    }
    assert list(sink.receipts()) == [ours]
    assert "foreign.parquet is not a file of this service" in caplog.text


def test_a_foreign_file_under_a_split_s_name_is_waited_out(sink: ParquetSink, tmp_path: Path) -> None:
    path = tmp_path / "out" / FOLDER / f"{_split().split_id}.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(_rows("x"), path)
    for call in (lambda: sink.write(_split(), _rows("a"), _receipt(_split())), lambda: sink.retire(_split())):
        with pytest.raises(Retryable, match="move it elsewhere"):
            call()
    path.unlink()
    assert sink.write(_split(), _rows("a"), _receipt(_split())).rows == 1


def test_it_travels_to_workers(sink: ParquetSink) -> None:
    written = sink.write(_split(), _rows("a"), _receipt(_split()))
    assert pickle.loads(pickle.dumps(sink)).find(_split()) == written
