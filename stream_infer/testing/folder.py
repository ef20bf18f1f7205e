"""A sink for tests: a folder of JSON files, each the receipt and the rows of one split."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from stream_infer.errors import Retryable
from stream_infer.splits import Receipt, Split

_NAME = re.compile(r"[0-9a-f]{32}")


class FolderSink:
    """Implements `contracts.Sink`. ``os.link`` refuses to replace, so the first file of a name wins.

    While a file ``outage`` lies in the folder, every write fails as a store does that is away.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, split: Split, rows: pa.Table, receipt: Receipt) -> Receipt:
        """See `contracts.Sink.write`."""
        if (self._root / "outage").exists():
            raise Retryable("the folder is out of reach")
        if not rows.num_rows:
            return self.find(split) or receipt
        filled = replace(receipt, file=_file_of(split), rows=rows.num_rows)
        return self._create(split, filled, rows.column("record_id").to_pylist())

    def find(self, split: Split) -> Receipt | None:
        """See `contracts.Sink.find`."""
        return self.receipt_of(_file_of(split))

    def retire(self, split: Split) -> Receipt | None:
        """See `contracts.Sink.retire`."""
        retired = Receipt(split.split_id, split.source, split.attempt, split.bounds, _file_of(split), retired=True)
        winner = self._create(split, retired, [])
        return None if winner.retired else winner

    def files(self, folder: str) -> Iterator[tuple[str, str]]:
        """See `contracts.Sink.files`."""
        for path in self._root.glob(f"{folder}/*.json" if folder else "*/*.json"):
            if _NAME.fullmatch(path.stem):
                yield path.stem, str(path.relative_to(self._root))

    def receipt_of(self, file: str) -> Receipt | None:
        """See `contracts.Sink.receipt_of`."""
        path = self._root / file
        return Receipt.from_json(json.loads(path.read_text())["receipt"]) if path.exists() else None

    def receipts(self) -> Iterator[Receipt]:
        """See `contracts.Sink.receipts`."""
        for _split_id, file in self.files(""):
            receipt = self.receipt_of(file)
            if receipt is not None:
                yield receipt

    def record_ids(self) -> list[str]:
        """Every record of every file, as a plain listing shows them."""
        return [name for path in self._root.glob("*/*.json") for name in json.loads(path.read_text())["records"]]

    def _create(self, split: Split, receipt: Receipt, records: list[str]) -> Receipt:
        path = self._root / _file_of(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{uuid.uuid4().hex}")
        draft.write_text(json.dumps({"receipt": receipt.to_json(), "records": records}))
        try:
            os.link(draft, path)
        except FileExistsError:
            return Receipt.from_json(json.loads(path.read_text())["receipt"])
        finally:
            draft.unlink()
        return receipt


def _file_of(split: Split) -> str:
    return f"{split.folder}/{split.split_id}.json"
