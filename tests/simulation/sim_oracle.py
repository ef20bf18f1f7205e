"""The oracle: the invariants after every event and at the end. It shares no code with the product.

It reads the bytes that stand in the store with pyarrow, the ledger's file with sqlite3, and knows what was put in.
"""

from __future__ import annotations

import io
import json
import re
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.simulation.sim_world import Broken, Process, World

_FILE = re.compile(r"results/(date=\d{4}-\d\d-\d\d)/([0-9a-f]{32})\.parquet")
GOOD = "good"
MOODY = "moody"  # rejected at first, good when it is tried again later
KILLERS = ("kill", "hang", "memory", "doom")  # end the process that has them


class Oracle:
    """Attributes:
    truth: record id -> (kind, text) of every record that was ever put in.
    rows: record id -> key of the file that shows it.
    possible_losses: record ids that may be a named loss: expired, superseded or deleted.
    lenient: a record may be rejected though nothing is wrong with it (the whole service died of its neighbour).
    """

    def __init__(self, world: World, database: Path, *, lenient: bool, by_event: bool) -> None:
        self._world = world
        self._ledger = sqlite3.connect(database)
        self._lenient, self._by_event = lenient, by_event
        self.truth: dict[str, tuple[str, str]] = {}
        self.objects: dict[str, list[str]] = {}  # identity -> record ids of its rows
        self.current: dict[str, str] = {}  # object key -> identity
        self.partitions: dict[tuple[str, int], list[list[str | None]]] = {}  # incarnations: record id by offset
        self.rows: dict[str, str] = {}
        self.possible_losses: set[str] = set()
        self._gaps: set[str] = set()
        self._contents: dict[str, bytes] = {}
        self._epochs: dict[Process, int] = {}
        self._begun: dict[str, int] = {}  # where the ledger began to read, by position key
        self._epoch = self._version = self._writes = 0
        self.follow_commit(None)

    def close(self) -> None:
        self._ledger.close()

    # what is put in

    def produced(
        self, partition: tuple[str, int], incarnation_name: str, offset: int, kind: str | None, text: str
    ) -> None:
        record_id = f"kafka://C/{incarnation_name}/{partition[1]}/{offset}"
        self.partitions[partition][-1].append(None if kind is None else record_id)
        if kind is None:
            self._gaps.add(record_id)
        else:
            self.truth[record_id] = (kind, text)

    def stored(self, key: str, version: str, rows: list[tuple[str, str]]) -> None:
        identity = f"s3://in/{key}?version={version}"
        self.replaced(key)
        self.current[key] = identity
        self.objects[identity] = [f"{identity}#{row}" for row in range(len(rows))]
        self.truth.update(zip(self.objects[identity], rows, strict=True))

    def replaced(self, key: str) -> None:
        """Expect the rows of a replaced object version as possible losses."""
        if key in self.current:
            self.possible_losses.update(self.objects[self.current.pop(key)])

    def expired_below(self, partition: tuple[str, int], offset: int) -> None:
        """Expect the records of the newest incarnation below the offset as possible losses: the broker deleted them."""
        self.possible_losses.update(item for item in self.partitions[partition][-1][:offset] if item is not None)

    def open(self) -> list[str]:
        """A few of the unfinished splits, or of the records without a fate."""
        left = [row[0] for row in self._all("SELECT split_id FROM ledger_splits WHERE finished_at IS NULL LIMIT 3")]
        if left:
            return left
        rejected, lost = self._rejected(), self._lost()
        fates = self.rows.keys() | rejected.keys() | lost.keys()
        return [item for item in self.truth if item not in fates and item not in self.possible_losses][:3]

    # what must hold after every step

    def file_changed(self, key: str, data: bytes | None) -> None:
        """Check a file that appeared in the output folder or left it."""
        if data is None or key in self._contents:
            raise Broken(f"{key} was {'deleted' if data is None else 'replaced'}")
        named = _FILE.fullmatch(key)
        if named is None:
            raise Broken(f"{key} is not a name that a split may have")
        self._contents[key] = data
        file = pq.ParquetFile(io.BytesIO(data))
        receipt = json.loads(file.metadata.metadata[b"stream-infer"])
        table = file.read()
        ids = table.column("record_id").to_pylist()
        if receipt["retired"] and ids:
            raise Broken(f"{key} is retired and has rows")
        if not receipt["retired"] and (receipt["rows"] != len(ids) or not ids):
            raise Broken(f"{key} has {len(ids)} rows and its receipt says {receipt['rows']}")
        answers = table.column("answer").to_pylist() if ids else []
        for record_id, answer, split_id in zip(ids, answers, table.column("split_id").to_pylist(), strict=True):
            self._row(key, named[2], record_id, answer, split_id)

    def _row(self, key: str, name: str, record_id: str, answer: str, split_id: str) -> None:
        if record_id in self.rows:
            raise Broken(f"{record_id} stands in {self.rows[record_id]} and in {key}")
        kind, text = self.truth.get(record_id, ("unknown", ""))
        if kind not in (GOOD, MOODY):
            raise Broken(f"{record_id} is {kind} and became a row of {key}")
        if answer != text[::-1] or split_id != name:
            raise Broken(f"{record_id}: the row says {answer!r} of split {split_id}, for {text!r} in {key}")
        self.rows[record_id] = key

    def follow_commit(self, process: Process | None) -> None:
        """Check after a transaction that only the owner of the ledger has changed it."""
        version = self._one("PRAGMA data_version")
        if version == self._version:
            return
        self._version = version
        ((epoch, writes),) = self._all("SELECT epoch, writes FROM ledger_state")
        opened = writes == self._writes and process not in self._epochs  # it only stored its settings
        self._writes = writes
        if process is not None:
            if epoch != self._epoch:
                self._epochs[process] = epoch
            elif not opened and self._epochs.get(process) != epoch:
                raise Broken(f"{process.name} wrote to the ledger with epoch {self._epochs.get(process)}, not {epoch}")
        self._epoch = epoch
        for key, position in self._positions().items():
            self._begun.setdefault(key, position)

    def offsets_committed(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Check that every record before the offsets of the Kafka group is accounted for."""
        rejected, lost = self._rejected(), self._lost()
        for partition, offset in offsets.items():
            problems = []
            for logged in self.partitions[partition]:
                early = [item for item in logged[:offset] if item is not None]
                fates = self.rows.keys() | rejected.keys() | lost.keys()
                open_ = [item for item in early if item not in fates and not self._before(item)]
                if not open_ and offset <= len(logged):
                    break
                problems.append(f"{len(open_)} before it are open, such as {open_[:1]}")
            else:
                raise Broken(f"offset {offset} of {partition} was committed: {problems}")

    def input_deleted(self, key: str) -> None:
        """Check that ``after: delete`` removes committed objects only."""
        identity = self.current.pop(key)
        rejected, lost = self._rejected(), self._lost()
        for item in self.objects[identity]:
            if item not in self.rows and item not in rejected and item not in lost:
                raise Broken(f"{key} was deleted and {item} is in no file yet")

    # what must hold at the end

    def finish(self) -> None:
        rejected, lost = self._rejected(), self._lost()
        claimed = {row[0] for row in self._all("SELECT object_id FROM ledger_objects")}
        for record_id, (kind, _) in self.truth.items():
            fates = [record_id in self.rows, record_id in rejected, record_id in lost]
            if sum(fates) != 1:
                if not any(fates) and record_id in self.possible_losses and self._never_seen(record_id, claimed):
                    continue
                raise Broken(f"{record_id} ({kind}): row {fates[0]}, reject {fates[1]}, loss {fates[2]}")
            if fates[2] and record_id not in self.possible_losses:
                raise Broken(f"{record_id} is said to be lost ({lost[record_id]}) and is there")
            if fates[1] and kind == GOOD and not self._lenient and not self._went_with_a_killer(record_id):
                raise Broken(f"{record_id} is good and was rejected: {rejected[record_id]}")
        strange = rejected.keys() - self.truth.keys()
        if self._lenient:  # what the service died around is rejected unread, so nobody knows that there was nothing
            strange -= self._gaps
        if strange:
            raise Broken(f"{min(strange)} was rejected and never was a record")
        self._ledger_agrees()

    def _never_seen(self, record_id: str, claimed: set[str]) -> bool:
        """Whether the service never saw the record: it expired before the start, or it was never planned or listed."""
        identity = record_id.partition("#")[0]
        if identity in self.objects:
            return identity not in claimed
        key, _, offset = record_id.removeprefix("kafka://C/").rpartition("/")
        return self._before(record_id) or int(offset) >= self._positions().get(key, 0)

    def _before(self, record_id: str) -> bool:
        key, _, offset = record_id.removeprefix("kafka://C/").rpartition("/")
        return int(offset) < self._begun.get(key, 0)

    def knows_topic(self, name: str) -> bool:
        """Whether the ledger has seen the topic."""
        return bool(self._one("SELECT count(*) FROM ledger_positions WHERE key = ?", f"topic/{name}"))

    def _positions(self) -> dict[str, int]:
        query = "SELECT key, value FROM ledger_positions WHERE key NOT LIKE 'topic/%' AND key NOT LIKE 'first/%'"
        return {key: int(value) for key, value in self._all(query)}

    def _ledger_agrees(self) -> None:
        """Check that the ledger's state of each split matches the files in the store."""
        shown: dict[str, int] = dict.fromkeys(self._contents, 0)
        for key in self.rows.values():
            shown[key] += 1
        unfinished = "SELECT split_id, state FROM ledger_splits WHERE state IN ('planned', 'running')"
        if left := self._all(unfinished):
            raise Broken(f"splits are left: {left[:3]}")
        columns = "split_id, state, file, rows, rejected, lost, planned_at, document"
        for split_id, state, file, rows, _rejected, _lost, planned_at, document in self._all(
            f"SELECT {columns} FROM ledger_splits"
        ):
            folder = f"date={datetime.fromtimestamp(planned_at, UTC):%Y-%m-%d}"
            if self._by_event or "replay" in json.loads(document)["bounds"]:
                folder = json.loads(document)["folder"]
            key = f"results/{folder}/{split_id}.parquet"
            stored_rows = shown.pop(key, 0)
            if stored_rows != rows or (rows and file != f"{folder}/{split_id}.parquet"):
                raise Broken(f"split {split_id} is {state} with {rows} rows in {file}; {stored_rows} stand in {key}")
            if json.loads(document)["split_id"] != split_id:
                raise Broken(f"split {split_id} has the document of another")
        if shown:
            raise Broken(f"files of no split: {sorted(shown)[:3]}")
        self._sums_agree()

    def _sums_agree(self) -> None:
        """Check that the running sums of the status equal the sums over the splits."""
        by_state = {"committed": "committed", "bisected": "bisected", "rejected": "refused"}
        for source, *sums in self._all(
            "SELECT source, committed, bisected, refused, rows, rejected, lost FROM ledger_totals"
        ):
            counted = [
                self._one("SELECT count(*) FROM ledger_splits WHERE source = ? AND state = ?", source, state)
                for state in by_state
            ]
            given = self._all("SELECT sum(rows), sum(rejected), sum(lost) FROM ledger_splits WHERE source = ?", source)
            counted += [value or 0 for value in given[0]]
            counted[-1] += self._one(
                "SELECT coalesce(sum(records), 0) FROM ledger_losses WHERE source = ? AND split_id = ''", source
            )
            if counted != sums:
                raise Broken(f"the sums of {source} are {sums} and its splits say {counted}")

    def _went_with_a_killer(self, record_id: str) -> bool:
        """Whether the object's version was deleted before the bisection had isolated the row that kills workers."""
        rows = self.objects.get(record_id.partition("#")[0], [])
        return self.possible_losses.issuperset(rows) and any(self.truth[row][0] in KILLERS for row in rows)

    def _rejected(self) -> dict[str, str]:
        """The reason of every record of an open reject, by record id."""
        reasons: dict[str, str] = {}
        for record_id, error, reason, whole, split_id in self._all(
            "SELECT record_id, error, reason, whole, split_id FROM ledger_rejects WHERE resolved_at IS NULL"
        ):
            base = record_id.partition("#")[0]
            whole_object = whole and base in self.objects and not self._of_rows(split_id)
            reasons.update(dict.fromkeys(self.objects[base] if whole_object else [record_id], f"{error}: {reason}"))
        return reasons

    def _lost(self) -> dict[str, str]:
        """The reason of every record of a named loss, by record id."""
        reasons: dict[str, str] = {}
        for record_id, reason, records, split_id in self._all(
            "SELECT record_id, reason, records, split_id FROM ledger_losses"
        ):
            base, mark, first = record_id.rpartition("#" if "#" in record_id else "/")
            names = [f"{base}{mark}{int(first) + index}" for index in range(records)]
            if base in self.objects and not self._of_rows(split_id):
                names = self.objects[base]  # an object that was lost whole
            reasons.update(dict.fromkeys(names, reason))
        return reasons

    def _of_rows(self, split_id: str) -> bool:
        document = self._one("SELECT document FROM ledger_splits WHERE split_id = ?", split_id)
        return "rows" in json.loads(document)["bounds"]

    def _one(self, query: str, *values: Any) -> Any:
        return self._ledger.execute(query, values).fetchone()[0]

    def _all(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._ledger.execute(query, values).fetchall()
