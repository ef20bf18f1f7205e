"""The ledger's database in a simulation: real SQLite, whose COMMITs may be refused, lost or the last thing done."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

from stream_infer.ledger.store import connect, parse_url
from tests.simulation.sim_service import Town
from tests.simulation.sim_world import Process


class Database:
    """The ledger's engines, made once for many simulations, so that their queries are compiled once.

    One engine serves one instance at a time. A COMMIT may be refused, or act and not be answered, or be the last thing
    that its process ever did.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "ledger.db"
        self.url = f"sqlite:///{self.file}"
        self._folder = folder
        self._engines = [self._engine() for _ in range(4)]
        self._template: dict[str, bytes] = {}
        self._raw: dict[int, list[sqlite3.Connection]] = {id(engine): [] for engine in self._engines}
        self._free: list[Engine] = []
        self._town: Town | None = None
        self.crashes: list[tuple[int, str]] = []  # (COMMITs to go, before | after)
        self.committed: Callable[[Process], None] = lambda _: None

    def start(self, town: Town, prepare: Callable[[], None]) -> None:
        """A new simulation; the first one prepares the file that all begin with."""
        self._town = None
        self._free = list(self._engines)
        self.crashes = []
        for engine in self._engines:
            engine.dispose()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.file}{suffix}").unlink(missing_ok=True)
        if not self._template:
            prepare()
            for engine in self._engines:
                engine.dispose()
            self._template = {"": self.file.read_bytes()}
        self.file.write_bytes(self._template[""])
        self._free = list(self._engines)
        self._town = town

    def open(self, _url: object, _timeout: float) -> Engine:
        """In place of `ledger.connect`: the engine is the process's own until it dies."""
        if self._town is None:
            return self._engines[0]
        engine = self._free.pop(0)
        raw = self._raw[id(engine)]
        raw.clear()

        def release() -> None:
            for connection in raw:
                connection.close()
            raw.clear()
            engine.pool = engine.pool.recreate()
            self._free.append(engine)

        self._town.world.check_alive().process.on_death.append(release)
        return engine

    def _engine(self) -> Engine:
        engine = connect(parse_url(self.url), 0.0)
        writes: dict[int, int] = {}

        def on_connect(raw: sqlite3.Connection, _record: object) -> None:
            raw.execute("PRAGMA synchronous=OFF")
            writes.pop(id(raw), None)  # of a closed connection that had the same address: chance would tell the history
            self._raw[id(engine)].append(raw)

        def on_begin(connection: Connection) -> None:
            town = self._town
            if town is not None:
                immediate = connection.get_execution_options().get("immediate")
                town.world.pause(0.5 if immediate else 0.05)

        event.listen(engine, "connect", on_connect)
        event.listen(engine, "begin", on_begin, insert=True)
        dialect: Any = engine.dialect
        commit = dialect.do_commit
        dialect.do_commit = lambda connection: self._commit(connection, commit, writes)
        return engine

    def _commit(self, connection: Any, commit: Callable[[Any], None], writes: dict[int, int]) -> None:
        town, raw = self._town, connection.dbapi_connection if hasattr(connection, "dbapi_connection") else connection
        if town is None or raw.total_changes == writes.get(id(raw), 0):
            commit(connection)
            return
        world, rng = town.world, town.world.rng
        process = world.check_alive().process
        how = self._fate()
        world.pause(0.3)
        if how == "before":
            world.report(f"{process.name} is killed before its COMMIT")
            world.kill(process)
        if how == "refused":
            raise sqlite3.OperationalError("disk I/O error (simulated)")
        commit(connection)
        writes[id(raw)] = raw.total_changes
        try:
            self.committed(process)
        except AssertionError as error:
            world.fail(str(error), error)
        if how == "after":
            world.report(f"{process.name} is killed after its COMMIT")
            world.kill(process)
        if how == "lost":
            raise sqlite3.OperationalError("the reply was lost (simulated)")
        if rng.random() < 0.2:
            world.pause()

    def _fate(self) -> str:
        assert self._town is not None
        self.crashes = [(left - 1, how) for left, how in self.crashes]
        due = [how for left, how in self.crashes if left <= 0]
        self.crashes = [item for item in self.crashes if item[0] > 0]
        if due:
            return due[0]
        weather, roll = self._town.weather, self._town.world.rng.random()
        if roll < weather.commit_lost:
            return "lost"
        return "refused" if roll < weather.commit_lost + weather.commit_refused else ""
