"""The mutants: faults as text replacements, each with the tests that should be the first to notice.

A mutant that changes nothing anybody could see has no place here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MACHINE = "tests/ledger/test_ledger_machine.py"
LEDGER = "tests/ledger/test_ledger.py"
ADMISSION = "tests/driver/test_admission.py"
PLAN_KAFKA = "tests/connectors/kafka/test_source.py"
OF_BOUNDS = "tests/test_bounds.py"
PLAN_FILES = "tests/connectors/files/test_planning.py"
FOLDER = "tests/connectors/files/test_folder.py"
STORE = "tests/connectors/storage/test_stores.py"
SINK = "tests/contracts/test_sink_contract.py"
DURABLE = "tests/mutation/test_order_of_effects.py"
ZOMBIE = "tests/contracts/test_zombie_attempt.py"
SIM = ""  # the simulation alone


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Attributes:
        old / new: text that stands once in ``file``, and what it becomes.
        tests: test files tried before the simulation, which is tried always.
        seeds: seeds of the simulation known to notice; tried before the others.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str = SIM
    seeds: tuple[int, ...] = ()

    def applied(self, text: str) -> str:
        """The file's text with the fault. Raises ValueError if the place is not there exactly once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: its text stands {text.count(self.old)} times in {self.file}")
        return text.replace(self.old, self.new)

    def plant(self, tree: Path) -> None:
        """Change the file in a copy of the tree."""
        file = tree / self.file
        file.write_text(self.applied(file.read_text()))


_STORE, _PLAN, _COMMIT = (f"stream_infer/ledger/{name}.py" for name in ("store", "plan", "commit"))
_ROWS, _SUPERVISOR = "stream_infer/ledger/rows.py", "stream_infer/driver/supervisor.py"
_COMMITTER, _PLANNER, _ADMISSION = (f"stream_infer/driver/{name}.py" for name in ("committer", "planner", "admission"))
_ACTOR, _STAGES, _BISECT = (f"stream_infer/worker/{name}.py" for name in ("actor", "stages", "bisect"))
_ATTEMPTS = "stream_infer/execution/attempts.py"
_BISECTION = "stream_infer/driver/bisection.py"
_SINK, _FOOTER = "connectors/parquet/sink.py", "connectors/parquet/footer.py"
_AFTER, _READER, _SOURCE = (f"connectors/files/{name}.py" for name in ("after", "reader", "source"))
_LOCAL = "connectors/storage/local.py"
_KSOURCE, _KREADER = (f"connectors/kafka/{name}.py" for name in ("source", "reader"))
_BOUNDS = "stream_infer/bounds.py"

LEDGER_MUTANTS = (
    Mutant(
        "the fence lets every epoch pass",
        _STORE,
        "own = schema.state.c.epoch == (-1 if self._epoch is None else self._epoch)",
        "own = schema.state.c.epoch >= 0",
        LEDGER,
    ),
    Mutant(
        "taking the ledger fences nobody",
        _STORE,
        '"epoch": schema.state.c.epoch + 1',
        '"epoch": schema.state.c.epoch',
        LEDGER,
    ),
    Mutant(
        "a COMMIT that failed counts as done",
        _STORE,
        "self._doubt.number < number",
        "self._doubt.number <= number",
        MACHINE,
    ),
    Mutant(
        "the result of a lost reply is forgotten",
        _STORE,
        "self._settled[self._doubt.call] = self._doubt.result",
        "pass",
        MACHINE,
    ),
    Mutant(
        "COMMIT returns before the disk has it", _STORE, "PRAGMA synchronous=FULL", "PRAGMA synchronous=OFF", DURABLE
    ),
    Mutant("objects are not claimed", _PLAN, "            _claim(connection, source, plans)\n", "", LEDGER),
    Mutant("positions do not move", _PLAN, "            _move(connection, source, moved)\n", "", MACHINE),
    Mutant("losses of a plan are not stored", _PLAN, "            _count_lost(connection, new_losses)\n", "", MACHINE),
    Mutant(
        "an attempt is not counted", _PLAN, '"attempts": table.c.attempts + 1', '"attempts": table.c.attempts', MACHINE
    ),
    Mutant(
        "final splits are attempted again",
        _PLAN,
        "chosen = (table.c.split_id.in_(some), schema.OPEN)",
        "chosen = (table.c.split_id.in_(some),)",
        MACHINE,
    ),
    Mutant(
        "the prefix ends at the last open split",
        _PLAN,
        "func.min(table.c.range_start)",
        "func.max(table.c.range_start)",
        MACHINE,
    ),
    Mutant(
        "the prefix passes open splits",
        _PLAN,
        "            ends.update((key, start) for key, start in connection.execute(waiting))\n",
        "",
        MACHINE,
    ),
    Mutant(
        "the prefix is one too far",
        _PLAN,
        "ends.update((key, start) for key, start",
        "ends.update((key, start + 1) for key, start",
        MACHINE,
    ),
    Mutant("every object version is unseen", _PLAN, "return set(object_ids) - seen", "return set(object_ids)", LEDGER),
    Mutant(
        "a commit loses its first receipt", _COMMIT, "for receipt in receipts:", "for receipt in receipts[1:]:", MACHINE
    ),
    Mutant(
        "the last receipt of a split wins",
        _COMMIT,
        "wanted.setdefault(receipt.split_id, receipt)",
        "wanted[receipt.split_id] = receipt",
        DURABLE,
    ),
    Mutant(
        "a retired file's receipt commits its split",
        _COMMIT,
        "if not receipt.retired and receipt.poisoned is None:",
        "if receipt.poisoned is None:",
        LEDGER,
    ),
    Mutant(
        "a receipt of a poisoned split commits it",
        _COMMIT,
        "if not receipt.retired and receipt.poisoned is None:",
        "if not receipt.retired:",
        LEDGER,
    ),
    Mutant(
        "a final split is committed again",
        _COMMIT,
        "where(table.c.split_id.in_(some), schema.OPEN)).all()",
        "where(table.c.split_id.in_(some))).all()",
        MACHINE,
    ),
    Mutant(
        "a bisected split stays open",
        _COMMIT,
        '"finished_at": now, "acknowledged_at": now}',
        '"acknowledged_at": now}',
        MACHINE,
    ),
    Mutant(
        "a bisected split is acknowledged like a committed one",
        _COMMIT,
        '"finished_at": now, "acknowledged_at": now}',
        '"finished_at": now}',
        MACHINE,
    ),
    Mutant(
        "halves forget their root",
        _COMMIT,
        "root=open_rows[0].root or open_rows[0].seq",
        "root=open_rows[0].seq",
        LEDGER,
    ),
    Mutant(
        "rejects of a lone record are not stored",
        _COMMIT,
        "            rows.insert_rejects(connection, [(split.split_id, item) for item in rejects])\n",
        "",
        MACHINE,
    ),
    Mutant(
        "a lone reject is not in the sums",
        _COMMIT,
        '{"refused": 1, "rejected": len(rejects)}',
        '{"refused": 1}',
        MACHINE,
    ),
    Mutant(
        "pieces are acknowledged before their siblings",
        _COMMIT,
        'table.c.source == bindparam("source"), ~open_piece)',
        'table.c.source == bindparam("source"))',
        MACHINE,
    ),
    Mutant(
        "rejects of a receipt are not stored",
        _COMMIT,
        "    rows.insert_rejects(connection, [(receipt.split_id, item) for receipt in accepted for item in receipt.rejects])\n",
        "",
        MACHINE,
    ),
    Mutant(
        "losses of a receipt are not stored",
        _COMMIT,
        "    rows.insert_losses(connection, [(receipt.split_id, item) for receipt in accepted for item in receipt.losses])\n",
        "",
        MACHINE,
    ),
    Mutant(
        "a split that is known is planned twice",
        _ROWS,
        "        del wanted[split_id]\n",
        "        pass\n",
        MACHINE,
    ),
    Mutant(
        "losses are told apart by their source alone",
        _ROWS,
        "setdefault(item.source, {}).setdefault(item.record_id, (split_id, item))",
        "setdefault(item.source, {}).setdefault(item.source, (split_id, item))",
        MACHINE,
    ),
)

ENGINE_MUTANTS = (
    Mutant(
        "a split is divided without taking its name",
        _COMMITTER,
        "existing = self.wait_out(lambda: self._sink.retire(split))",
        "existing = None",
    ),
    Mutant(
        "a file that stood before is not adopted but divided",
        _COMMITTER,
        "if existing is not None and not existing.retired:",
        "if False:",
    ),
    Mutant(
        "adopting does not check for retired",
        _COMMITTER,
        "        if receipt.retired:\n",
        "        if False:\n",
        ZOMBIE,
    ),
    Mutant(
        "what a later start refused leaves its name free",
        _COMMITTER,
        "(task.split.attempt > 1 or task.trail.deaths)",
        "task.trail.deaths",
        ZOMBIE,
    ),
    Mutant(
        "what a later worker refused leaves its name free",
        _COMMITTER,
        "(task.split.attempt > 1 or task.trail.deaths)",
        "task.split.attempt > 1",
        ZOMBIE,
    ),
    Mutant(
        "a row that came before a refusal is forgotten",
        _COMMITTER,
        "            if existing is not None:\n                return existing\n        return receipt",
        "        return receipt",
        ZOMBIE,
    ),
    Mutant("pieces are planned and never offered", _COMMITTER, "            self._backlog.offer(planned)\n", ""),
    Mutant(
        "a group commits all but its last receipt",
        _COMMITTER,
        "committed = self.wait_out(lambda: self._ledger.commit(receipts))",
        "committed = self.wait_out(lambda: self._ledger.commit(receipts[:-1]))",
    ),
    Mutant(
        "work is dispatched before it is stored",
        _PLANNER,
        "            added = self._wait_out(partial(self._ledger.plan, self.source.name, group))\n",
        "            self._backlog.offer([planned.split for planned in group if planned.split is not None])\n"
        "            added = self._wait_out(partial(self._ledger.plan, self.source.name, group))\n",
    ),
    Mutant(
        "what is stored is not offered",
        _PLANNER,
        "            self._backlog.offer(added)\n            lost =",
        "            lost =",
    ),
    Mutant(
        "acknowledged before the source did its part",
        _PLANNER,
        '                with crash.around("source.committed"):\n'
        "                    self.source.committed(splits, self._committed_offsets)\n"
        "                self._ledger.acknowledge([split.split_id for split in splits])\n",
        "                self._ledger.acknowledge([split.split_id for split in splits])\n"
        '                with crash.around("source.committed"):\n'
        "                    self.source.committed(splits, self._committed_offsets)\n",
        DURABLE,
    ),
    Mutant(
        "an attempt after a restart is not counted",
        "stream_infer/driver/recovery.py",
        "again = committer.wait_out(lambda: ledger.attempt(rest))",
        "again = rest",
    ),
    Mutant(
        "what a fallen execution held is forgotten",
        _SUPERVISOR,
        "self._recover(self._backlog.returned())",
        "self._backlog.returned()",
    ),
    Mutant(
        "a restart forgets what it had planned",
        _SUPERVISOR,
        "self._recover(self._ledger.unfinished())",
        "self._recover([])",
    ),
    Mutant(
        "a lone record is rejected for deaths of the service",
        _SUPERVISOR,
        "(limit * _PATIENCE if split.records <= 1 else limit)",
        "1",
    ),
    Mutant(
        "settled splits keep their bytes", _ADMISSION, "                self._bytes -= split.bytes\n", "", ADMISSION
    ),
    Mutant("backfill goes first", _ADMISSION, '{"live": 0, "backfill": 1}', '{"live": 1, "backfill": 0}', ADMISSION),
    Mutant(
        "one split too many is admitted",
        _ADMISSION,
        "len(self._in_flight) < self._limit_splits",
        "len(self._in_flight) <= self._limit_splits",
        ADMISSION,
    ),
    Mutant("returned splits stay in flight", _ADMISSION, "            self._in_flight.clear()\n", "", ADMISSION),
    Mutant("deaths of workers are forgotten", _ATTEMPTS, "            history.count += 1\n", ""),
    Mutant(
        "deaths in the first stage are not seen",
        _ATTEMPTS,
        "if start.order <= history.start.order and not",
        "if start.order < history.start.order and not",
    ),
    Mutant(
        "a worker only taken for dead counts as another death",
        _ATTEMPTS,
        "        if start.worker in history.replaced:\n            return history.deaths()\n",
        "",
        tests="tests/execution/test_attempts.py",
    ),
    Mutant(
        "isolating skips the row in the middle",
        _BISECT,
        "pending += [(middle, stop), (start, middle)]",
        "pending += [(middle + 1, stop), (start, middle)]",
    ),
    Mutant(
        "rejects of the model are dropped",
        _STAGES,
        "rejects=(*task.rejects, *failures),",
        "rejects=task.rejects,",
    ),
    Mutant(
        "rows and answers are paired by place",
        _STAGES,
        "rows.take(pa.array(np.asarray(inferred.kept)))",
        "rows.slice(0, len(inferred.kept))",
    ),
    Mutant("losses of the reader are dropped", _STAGES, "losses=piece.losses", "losses=()"),
    Mutant(
        "rejects of the reader are dropped",
        _STAGES,
        "rows, rejects = piece.table, list(piece.rejects)",
        "rows, rejects = piece.table, []",
    ),
    Mutant(
        "a piece is lost where a split is divided",
        _BISECTION,
        "depth=split.depth + 1) for piece in divided]",
        "depth=split.depth + 1) for piece in divided[1:]]",
    ),
)

CONNECTOR_MUTANTS = (
    Mutant(
        "a file may be replaced",
        _SINK,
        "if self._store.create(key, content):",
        "if self._store.put(key, content) is None:",
        SINK,
    ),
    Mutant(
        "a real file is not told by retire", _SINK, "return None if existing.retired else existing", "return None", SINK
    ),
    Mutant(
        "one's own receipt stands though another was first",
        _SINK,
        "        return self._existing_receipt(split, item)\n\n    def _existing_receipt",
        "        return receipt\n\n    def _existing_receipt",
        SINK,
    ),
    Mutant(
        "an attempt without rows does not look",
        _SINK,
        "return self.find(split) or replace(receipt, file=None",
        "return replace(receipt, file=None",
        DURABLE,
    ),
    Mutant(
        "files carry no receipt",
        _FOOTER,
        "        writer.add_key_value_metadata({RECEIPT_KEY.decode(): receipt.to_json()})\n",
        "",
        SINK,
    ),
    Mutant(
        "the content is not synced",
        _LOCAL,
        "                    os.fsync(file.fileno())\n",
        "                    pass\n",
        DURABLE,
    ),
    Mutant(
        "the name is not synced",
        _LOCAL,
        "                raise\n            _sync(os.path.dirname(_path(key)))\n",
        "                raise\n",
        DURABLE,
    ),
    Mutant("a new folder is not synced", _LOCAL, "        _sync(os.path.dirname(path))\n", "", DURABLE),
    Mutant(
        "a local name may be replaced",
        _LOCAL,
        "                os.link(temporary, _path(key))\n",
        "                os.replace(temporary, _path(key))\n",
        STORE,
    ),
    Mutant(
        "a local file is deleted whatever its version",
        _LOCAL,
        "item is None or (version is not None and item.version != version):",
        "item is None:",
        STORE,
    ),
    Mutant(
        "a local read is not pinned",
        _LOCAL,
        "if version is not None and _item(key, status).version != version:",
        "if False:",
        STORE,
    ),
    Mutant("the key is deleted, not the version", _AFTER, "    store.delete(*item)\n", "    store.delete(item[0])\n"),
    Mutant("another version is moved", _AFTER, "store.get(key, version)", "store.get(key)", DURABLE),
    Mutant(
        "moved and then the key deleted", _AFTER, "    store.delete(key, version)\n", "    store.delete(key)\n", DURABLE
    ),
    Mutant(
        "a read of an object is not pinned",
        _READER,
        "self._store.get(item.key, item.version, item.size)",
        "self._store.get(item.key, None, item.size)",
    ),
    Mutant(
        "a range of rows takes one more",
        _READER,
        "bisect_left(decoded.rows, stop)",
        "bisect_left(decoded.rows, stop + 1)",
    ),
    Mutant("an object's last row is not counted", _READER, "    return last + 1\n", "    return last\n"),
    Mutant(
        "a row is lost between halves",
        _BOUNDS,
        "replace(bounds, rows=(middle, stop))",
        "replace(bounds, rows=(middle + 1, stop))",
        OF_BOUNDS,
    ),
    Mutant(
        "an object is lost between halves",
        _BOUNDS,
        "bounds.objects[middle:]",
        "bounds.objects[middle + 1 :]",
        OF_BOUNDS,
    ),
    Mutant(
        "splits of objects claim nothing",
        _SOURCE,
        "return Planned(split, objects=self._claims(objects))",
        "return Planned(split)",
        PLAN_FILES,
    ),
    Mutant(
        "the position is one too far",
        _KSOURCE,
        "return Planned(split, positions={key: stop})",
        "return Planned(split, positions={key: stop + 1})",
        PLAN_KAFKA,
    ),
    Mutant(
        "the position stays one behind",
        _KSOURCE,
        "return Planned(split, positions={key: stop})",
        "return Planned(split, positions={key: stop - 1})",
        PLAN_KAFKA,
    ),
    Mutant(
        "offsets overlap by one",
        _KSOURCE,
        "                next_offsets[partition] = stop\n",
        "                next_offsets[partition] = stop - 1\n",
        PLAN_KAFKA,
    ),
    Mutant(
        "an offset is lost between halves",
        _BOUNDS,
        "replace(bounds, start=middle)",
        "replace(bounds, start=middle + 1)",
        OF_BOUNDS,
    ),
    Mutant("expired offsets are skipped in silence", _KSOURCE, ", losses=(loss,))", ")", PLAN_KAFKA),
    Mutant(
        "one expired offset too few is named",
        _KSOURCE,
        '"expired", start - position)',
        '"expired", start - position - 1)',
        PLAN_KAFKA,
    ),
    Mutant(
        "a lone record is rejected under the next offset",
        _BOUNDS,
        "range(bounds.start, bounds.stop)",
        "range(bounds.start + 1, bounds.stop + 1)",
        OF_BOUNDS,
    ),
    Mutant(
        "a range reads one message more",
        _KREADER,
        "                            if offset < stop:\n",
        "                            if offset <= stop:\n",
    ),
    Mutant(
        "the reader names one lost offset too few",
        _KREADER,
        '_loss(split, expired_at, at, "expired")',
        '_loss(split, expired_at, at - 1, "expired")',
    ),
    Mutant(
        "the reader skips expired offsets in silence",
        _KREADER,
        '                            yield _loss(split, expired_at, at, "expired")\n',
        "",
    ),
    Mutant(
        "an error behind the range is met",
        _KREADER,
        "                        if at >= stop:\n                            break",
        "                        if False:\n                            break",
        PLAN_KAFKA,
    ),
    Mutant(
        "messages of the new topic pass for the old one's",
        _KREADER,
        "        self._check_topic(split)  # what was yielded is void if this raises\n",
        "",
    ),
    Mutant(
        "a shorter new topic is waited for",
        _KREADER,
        "            self._check_topic(split)  # or",
        "            pass  # or",
    ),
)

MUTANTS = (*LEDGER_MUTANTS, *ENGINE_MUTANTS, *CONNECTOR_MUTANTS)
