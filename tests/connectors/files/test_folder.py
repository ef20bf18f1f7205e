"""A folder on the local disk: whole files only, each accounted for, and the actions after a commit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from stream_infer import config
from stream_infer.connectors.files.settings import FilesSettings
from stream_infer.connectors.files.source import FilesSource
from stream_infer.contracts import joined
from stream_infer.errors import ConfigError
from tests.connectors.files.planning_kit import DAY, NOW, Claims, keys, plan


def _folder(path: Path, **more: Any) -> FilesSource:
    chosen = FilesSettings(name="inbox", kind="files", url=str(path), discover={"poll": 0, "settle": 60}, **more)
    return FilesSource.from_config(chosen, pipeline="p", limits=config.Limits())


def test_a_file_renamed_into_place_is_taken_at_once_and_a_growing_one_is_not(tmp_path: Path) -> None:
    old, new, claims = tmp_path / "old", tmp_path / "new", Claims()
    for path, age in ((old, 3600.0), (new, 1.0)):
        path.write_text("x")
        os.utime(path, (NOW - age, NOW - age))
    source = _folder(tmp_path)
    assert keys(plan(source, claims)) == [str(old)[1:]]
    assert source.status({}).lag.unsettled == 1
    new.write_text("xy")
    os.utime(new, (NOW + 50, NOW + 50))
    assert plan(source, claims, now=NOW + 59) == []
    assert keys(plan(source, claims, now=NOW + 110)) == [str(new)[1:]]
    assert source.status({}).lag.unsettled == 0


def test_a_file_dated_in_the_future_is_taken_when_it_rests(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    os.utime(tmp_path / "a", (NOW + DAY, NOW + DAY))
    source, claims = _folder(tmp_path), Claims()
    assert plan(source, claims) == []
    assert plan(source, claims, now=NOW + 30) == []
    assert len(plan(source, claims, now=NOW + 61)) == 1


def test_an_archive_inside_the_source_is_not_input_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    os.utime(tmp_path / "a", (NOW - DAY, NOW - DAY))
    source, claims = _folder(tmp_path, after={"move": f"{tmp_path}/done/"}), Claims()
    parts = plan(source, claims)
    source.committed([part.split for part in parts if part.split], {})
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a"]
    assert (tmp_path / "done" / "a").read_text() == "x"
    assert plan(source, claims, now=NOW + DAY) == []


def test_objects_cannot_be_moved_onto_themselves(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="inbox"):
        _folder(tmp_path, after={"move": f"{tmp_path}/"})


def test_rows_that_are_gone_are_lost_once_each(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_text("\n".join(f'{{"n": {n}}}' for n in range(5)))
    os.utime(path, (NOW - DAY, NOW - DAY))
    source = _folder(tmp_path)
    (part,) = plan(source, Claims())
    assert part.split is not None
    halves = part.split.halves(5)
    assert halves is not None
    path.unlink()
    read = joined([piece for half in halves for piece in source.reader().read(half)])
    assert read.table.num_rows == 0
    assert [(loss.reason, loss.records) for loss in read.losses] == [("deleted", 2), ("deleted", 3)]
    assert len({loss.record_id for loss in read.losses}) == 2


def test_each_object_is_accounted_for_once(tmp_path: Path) -> None:
    contents = {
        "a.txt": b"hello",
        "b.txt": b"\xff\xfe",
        "c.bin": b"x" * 2000,
        "d.jsonl": b'{"n": 1}\nnot json\n{"n": 2}',
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        os.utime(tmp_path / name, (NOW - DAY, NOW - DAY))
    chosen = FilesSettings(name="inbox", kind="files", url=str(tmp_path))
    source = FilesSource.from_config(chosen, pipeline="p", limits=config.Limits(record_bytes=1000))
    (part,) = plan(source, Claims())
    assert part.split is not None
    read = joined(list(source.reader().read(part.split)))
    rows = read.table.to_pylist()
    assert [(Path(row["key"]).name, row.get("text"), row.get("n")) for row in rows] == [
        ("a.txt", "hello", None),
        ("d.jsonl", None, 1),
        ("d.jsonl", None, 2),
    ]
    refused = sorted(reject.record_id.rpartition("/")[2].replace("?", "#").split("#")[0] for reject in read.rejects)
    assert refused == ["b.txt", "c.bin", "d.jsonl"]
    names = [row["record_id"] for row in rows] + [reject.record_id for reject in read.rejects]
    assert len(names) == len(set(names)) == 6
