"""Connections, transactions and the fence of the ledger."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Engine,
    create_engine,
    event,
    exc,
    make_url,
    select,
    update,
)

from stream_infer import crash
from stream_infer.errors import ConfigError, Fatal, Fenced, Retryable
from stream_infer.ledger import schema, settings

R = TypeVar("R")
# An instance that is suspended in the midst of a transaction would keep its locks until it resumes. SQLite has no such limit.
_FROZEN_MILLISECONDS = 30_000
_TRANSIENT = (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError)
# A wrong statement or a read-only file stays so, though SQLite calls both operational.
_SQLITE_FATAL = frozenset({sqlite3.SQLITE_ERROR, sqlite3.SQLITE_READONLY})
# Seconds, and for the last one milliseconds, until a dead host counts as dead; the kernel would wait for hours.
_DEAD_HOST_TIMEOUTS = {
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 5,
    "tcp_user_timeout": 60_000,
}


class _Doubt(NamedTuple):
    """A transaction whose COMMIT was sent and not answered."""

    call: Hashable
    number: int
    result: Any


def parse_url(url: str) -> URL:
    """The database URL, with the folder of an SQLite file made.

    Raises:
        ConfigError: the URL is not one of a supported database. The message never shows it: it may hold a password.
    """
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        parsed = None
    backend = parsed.get_backend_name() if parsed is not None else ""
    if parsed is None or backend not in ("sqlite", "postgresql"):
        raise ConfigError("ledger: write sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE")
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if not parsed.database or parsed.database == ":memory:":
        raise ConfigError("ledger: name a file, such as sqlite:///state/ledger.db; memory does not survive a restart")
    try:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"ledger: its folder cannot be made: {error.strerror}") from error
    return parsed.set(drivername="sqlite+pysqlite")


@contextmanager
def translated() -> Iterator[None]:
    """Translate database errors to this project's errors, with the driver's first line and never the URL."""
    try:
        yield
    except exc.TimeoutError as error:
        raise Retryable(
            "the ledger's database did not answer: no connection became free", dependency="ledger"
        ) from error
    except exc.DBAPIError as error:
        line = (str(error.orig).strip().splitlines() or [type(error.orig).__name__])[0]
        final = getattr(error.orig, "sqlite_errorcode", None) in _SQLITE_FATAL
        if error.connection_invalidated or (isinstance(error, _TRANSIENT) and not final):
            raise Retryable(f"the ledger's database did not answer: {line}", dependency="ledger") from error
        raise Fatal(f"the ledger's database refused a statement: {line}") from error


def connect(url: URL, busy_timeout: float) -> Engine:
    """An engine whose pool may be used from any thread. Only this module begins transactions."""
    sqlite = url.get_backend_name() == "sqlite"
    arguments: dict[str, Any] = {"timeout": busy_timeout} if sqlite else _DEAD_HOST_TIMEOUTS
    try:
        engine = create_engine(url, hide_parameters=True, pool_pre_ping=not sqlite, connect_args=arguments)
    except ModuleNotFoundError as error:
        extra = "'stream-infer[postgres]'" if error.name == "psycopg" else error.name
        raise ConfigError(f"ledger: its database driver is not installed: pip install {extra}") from error
    milliseconds = int(busy_timeout * 1000)

    def on_connect(connection: Any, _record: Any) -> None:
        if sqlite:
            connection.isolation_level = None  # or the driver begins deferred transactions of its own
            statements = [f"PRAGMA busy_timeout={milliseconds}", "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL"]
        else:
            statements = [
                f"SET lock_timeout={milliseconds}",
                f"SET idle_in_transaction_session_timeout={_FROZEN_MILLISECONDS}",
                "SET synchronous_commit=on",
            ]
            connection.autocommit = True
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()
        if not sqlite:
            connection.autocommit = False

    def on_begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    event.listen(engine, "connect", on_connect)
    if sqlite:
        event.listen(engine, "begin", on_begin)
    return engine


class Store:
    """One instance's access to the ledger's database. Every method may be called from any thread.

    Writers of one process take turns on a lock; writers of several processes take turns on SQLite's write lock or
    on the row of ``ledger_state``. Readers see one snapshot and wait for nobody.

    Attributes:
        fenced: set once a write was refused, because another instance owns the ledger; this one must stop.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        snapshot = {} if engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
        self._readers = engine.execution_options(**snapshot)
        self._writers = engine.execution_options(immediate=True)
        self._lock = threading.Lock()
        self.fenced: Fenced | None = None
        self._epoch: int | None = None
        self._doubt: _Doubt | None = None
        self._settled: dict[Hashable, Any] = {}

    @property
    def epoch(self) -> int:
        """Epoch of this instance; 0 before it acquired the ledger."""
        return self._epoch or 0

    def close(self) -> None:
        """Close the connections. Safe to call twice."""
        self._engine.dispose()

    def acquire(self, owner: str) -> int:
        """Take the ledger; returns the new epoch. From now on every older instance is fenced.

        Raises:
            Retryable: the database did not answer; calling again costs at most one unused epoch.
        """
        epoch = self._take(owner)
        assert epoch is not None, "the table always has one row"
        return epoch

    def _take(self, owner: str, *where: ColumnElement[bool]) -> int | None:
        """Take the ledger if its state matches the conditions: the new epoch, or None."""
        taken = {"epoch": schema.state.c.epoch + 1, "owner": owner, "acquired_at": time.time()}
        taking = update(schema.state).where(*where).values(taken).returning(schema.state.c.epoch)
        with self._lock, self._writing() as connection:
            epoch: int | None = connection.execute(taking).scalar_one_or_none()
            crash.point("ledger.acquire.row")
            if epoch is not None:
                # The caller reads `unfinished` next, which shows the outcome of a commit in doubt.
                self._doubt, self._settled = None, {}
                self._epoch, self.fenced = epoch, None
        crash.point("ledger.acquire.committed")
        return epoch

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with translated(), self._readers.begin() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """One write transaction, committed at the end of the block."""
        with translated(), self._writers.connect() as connection:
            crash.point("ledger.begin")
            connection.begin()
            yield connection
            try:
                connection.commit()
            except exc.DBAPIError:
                # otherwise the pool would reuse it with its transaction open and SQLite's write lock taken
                connection.invalidate()
                raise

    def _write(self, call: tuple[Hashable, ...], work: Callable[[Connection], R]) -> R:
        """Run ``work`` in one fenced transaction and return what it returns.

        Raises Retryable and keeps the result when a COMMIT is not answered. The same ``call`` made again returns that result if
        the commit has taken place, else it does the work again.

        Raises:
            Fenced: another instance has taken the ledger, or this one never did.
            Retryable: it is unknown whether the commit took place; call again.
        """
        with self._lock:
            with self._writing() as connection:
                number = self._fence(connection)
                if self._doubt is not None and self._doubt.number < number:
                    self._settled[self._doubt.call] = self._doubt.result
                self._doubt = None
                crash.point(f"ledger.{call[0]}.begun")
                result: R = self._settled[call] if call in self._settled else work(connection)
                self._doubt = _Doubt(call, number, result)  # until the COMMIT is answered
                crash.point(f"ledger.{call[0]}.row")
            crash.point(f"ledger.{call[0]}.committed")
            self._doubt = None
            self._settled.pop(call, None)
            return result

    def _fence(self, connection: Connection) -> int:
        """Number of this transaction. Locks the row until its end, so no other instance can take the ledger meanwhile."""
        own = schema.state.c.epoch == (-1 if self._epoch is None else self._epoch)
        counted = update(schema.state).where(own).values(writes=schema.state.c.writes + 1)
        number: int | None = connection.execute(counted.returning(schema.state.c.writes)).scalar_one_or_none()
        if number is None:
            owner = connection.scalar(select(schema.state.c.owner)) or "nobody"
            self.fenced = Fenced(
                f"the ledger belongs to {owner} now; this instance must stop and may start anew to take it over"
            )
            raise self.fenced
        return number

    def _open(self, pipeline: Mapping[str, str]) -> None:
        """Bring schema and settings up to date; writes only if one of them is outdated."""
        with self._reading() as connection:
            if schema.stored_version(connection) and settings.UNFINISHED in settings.stored(connection):
                raise Fatal("the rebuild of this ledger did not end: run `stream-infer rebuild FILE` again")
        given = {name: settings.fingerprint(value) for name, value in pipeline.items()}
        with self._reading() as connection:
            ready = schema.stored_version(connection) == schema.VERSION
            if ready and given.items() <= settings.stored(connection).items():
                return
        with self._writing() as connection:
            schema.prepare(connection)
            crash.point("ledger.open.row")
            connection.execute(select(schema.state.c.epoch).with_for_update())
            settings.remember(connection, given)
        crash.point("ledger.open.committed")
