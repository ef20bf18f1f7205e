"""No statement reads a whole table: what a split costs must not grow with the ledger."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import event

from stream_infer.contracts import ObjectVersion, Planned
from stream_infer.ledger import Ledger
from stream_infer.splits import Receipt, Split


def test_the_way_of_a_split_scans_no_table(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(f"sqlite:///{path}", {})
    ledger.acquire("test")
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        seen.append((statement, parameters[0] if many else parameters))

    event.listen(ledger._engine, "before_cursor_execute", note)
    objects = [f"s3://bucket/{number}?version=1" for number in range(20)]
    split = Split.of("inbox", {"objects": objects}, folder="f", records=20, bytes=20)
    claims = tuple(ObjectVersion(name, 1, 0.0) for name in objects)
    ledger.position("inbox").unseen(objects)
    ledger.plan("inbox", [Planned(split, positions={"key": 1}, objects=claims)])
    ledger.attempt([split])
    ledger.unacknowledged("inbox", 10)
    ledger.commit([Receipt(split.split_id, "inbox", 1, split.bounds, rows=20)])
    ledger.acknowledge([split.split_id])
    assert len(seen) > 10
    database = sqlite3.connect(path)
    for statement, parameters in seen:
        if statement.split()[0] not in ("BEGIN", "PRAGMA"):
            plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            scans = [line for line in plan if line.startswith(("SCAN ledger_objects", "SCAN ledger_splits"))]
            assert not [line for line in scans if "INDEX" not in line], statement
