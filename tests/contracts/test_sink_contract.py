"""Every sink keeps the promises of the seam, and the suite catches a sink that breaks one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from stream_infer import config
from stream_infer.connectors.parquet.settings import ParquetSettings
from stream_infer.connectors.parquet.sink import ParquetSink
from stream_infer.contracts import Sink
from stream_infer.errors import ConfigError
from stream_infer.splits import Receipt, Split
from stream_infer.testing import FolderSink, check_sink


def _folders(root: Path) -> Iterator[Path]:
    return (root / str(number) for number in itertools.count())


def test_parquet_files_on_disk_pass_the_suite_of_sinks(tmp_path: Path) -> None:
    folders = _folders(tmp_path)
    check_sink(lambda: ParquetSink.from_config(ParquetSettings(url=str(next(folders)))))


def test_parquet_files_on_s3_pass_the_suite_of_sinks(s3: config.Storage, s3_bucket: Callable[[], str]) -> None:
    check_sink(lambda: ParquetSink.from_config(ParquetSettings(url=f"s3://{s3_bucket()}/out", storage=s3)))


def test_the_folder_of_json_files_passes_the_suite_of_sinks(tmp_path: Path) -> None:
    folders = _folders(tmp_path)
    check_sink(lambda: FolderSink(next(folders)))


def test_a_store_that_cannot_choose_one_winner_is_refused() -> None:
    with pytest.raises(ConfigError, match="single_writer"):
        ParquetSink.from_config(ParquetSettings(url="ftp://host/x"))


class _LastWins(FolderSink):
    """Replaces the file of a split that is written again."""

    def write(self, split: Split, rows: pa.Table, receipt: Receipt) -> Receipt:
        for file in self._root.glob(f"*/{split.split_id}.json"):
            file.unlink()
        return super().write(split, rows, receipt)


class _Boastful(FolderSink):
    """Reports its own receipt, whoever's file it is that has the name."""

    def write(self, split: Split, rows: pa.Table, receipt: Receipt) -> Receipt:
        kept = super().write(split, rows, receipt)
        return replace(kept, attempt=receipt.attempt)


class _Replacing(FolderSink):
    """Retires a name by replacing a written file."""

    def retire(self, split: Split) -> Receipt | None:
        for file in self._root.glob(f"*/{split.split_id}.json"):
            file.unlink()
        return super().retire(split)


class _Reviving(FolderSink):
    """Forgets that a name is retired."""

    def retire(self, split: Split) -> Receipt | None:
        return self.find(split)


class _Littering(FolderSink):
    """Makes a file for a split without rows."""

    def write(self, split: Split, rows: pa.Table, receipt: Receipt) -> Receipt:
        filled = replace(receipt, file=f"{split.folder}/{split.split_id}.json", rows=rows.num_rows)
        return self._create(split, filled, rows.column("record_id").to_pylist())


class _Forgetful(FolderSink):
    """Keeps no rejects in its receipts."""

    def write(self, split: Split, rows: pa.Table, receipt: Receipt) -> Receipt:
        return super().write(split, rows, replace(receipt, rejects=()))


class _Flat(FolderSink):
    """Lists all files, whatever folder is asked for."""

    def files(self, folder: str) -> Iterator[tuple[str, str]]:
        return super().files("")


class _Bound(FolderSink):
    """Keeps its files in a folder of this process."""

    def __getstate__(self) -> dict[str, Path]:
        return {"_root": self._root / "copy"}


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (_LastWins, "does not adopt"),
        (_Boastful, "does not adopt"),
        (_Replacing, "a write|retire"),
        (_Reviving, "retire"),
        (_Littering, "no rows"),
        (_Forgetful, "changed fields of the receipt"),
        (_Flat, "of that folder alone"),
        (_Bound, "pickled copy"),
    ],
)
def test_a_broken_sink_is_caught(broken: type[FolderSink], sentence: str, tmp_path: Path) -> None:
    folders = _folders(tmp_path)

    def make() -> Sink:
        return broken(next(folders))

    with pytest.raises(AssertionError, match=sentence):
        check_sink(make)
