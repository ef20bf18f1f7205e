"""An empty ledger for `rebuild`: the old one is set aside, and a setting keeps every other instance out until it is filled."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, delete, insert, inspect, select

from stream_infer import crash
from stream_infer.errors import Fatal
from stream_infer.ledger import Ledger, schema
from stream_infer.ledger.settings import UNFINISHED
from stream_infer.ledger.store import connect, parse_url, translated


@contextmanager
def renewed(url: str, pipeline: Mapping[str, str], owner: str, *, force: bool) -> Iterator[tuple[Ledger, str | None]]:
    """Open an empty ledger that this instance owns; yields it and the name under which the old one is kept, if it had work.

    No other instance can open it until the block ends without an error. After a failure the next call begins again.

    Raises:
        Fatal: the ledger has work and ``force`` does not allow to set it aside.
        Retryable: the database did not answer.
    """
    kept = _cleared(parse_url(url), force)
    ledger = Ledger.open(url, pipeline)
    try:
        ledger.acquire(owner)
        _change_settings(
            ledger, lambda connection: connection.execute(insert(schema.settings).values(name=UNFINISHED, value="1"))
        )
        crash.point("rebuild.begun")
        yield ledger, kept
        _change_settings(
            ledger,
            lambda connection: connection.execute(delete(schema.settings).where(schema.settings.c.name == UNFINISHED)),
        )
        crash.point("rebuild.ended")
    finally:
        ledger.close()


def _change_settings(ledger: Ledger, act: Callable[[Connection], object]) -> None:
    def work(connection: Connection) -> None:
        act(connection)

    ledger._write(("settings",), work)


def _cleared(url: URL, force: bool) -> str | None:
    """Remove the ledger at the URL; returns the name under which it is kept, if it had work. An unfinished rebuild is dropped."""
    engine = connect(url, 10.0)
    try:
        with translated():
            with engine.connect() as connection:
                tables = inspect(connection).has_table(schema.state.name)
                unfinished = tables and connection.scalar(
                    select(schema.settings.c.value).where(schema.settings.c.name == UNFINISHED)
                )
                work = tables and connection.scalar(select(schema.splits.c.seq).limit(1)) is not None
            if not tables:
                return None
            if unfinished or not work:
                schema.metadata.drop_all(engine)
                return None
            if not force:
                raise Fatal(
                    "the ledger has work, so it is not lost: `stream-infer audit FILE` says whether it is whole; "
                    "to make it anew all the same stop the service, then write --force: the old one is kept aside"
                )
            name = f"old-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
            return _file_aside(engine, url, name) if engine.dialect.name == "sqlite" else _schema_aside(engine, name)
    finally:
        engine.dispose()


def _file_aside(engine: Engine, url: URL, name: str) -> str:
    with engine.connect() as connection:  # moves the content of the write-ahead log into the file
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").all()
    engine.dispose()
    file = Path(url.database or "")
    aside = file.with_name(f"{file.name}.{name}")
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    with crash.around("rebuild.aside"):
        os.rename(file, aside)
    return str(aside)


def _schema_aside(engine: Engine, name: str) -> str:
    aside = f"ledger_{name.replace('-', '_').lower()}"
    with crash.around("rebuild.aside"), engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {aside}")
        for table in schema.metadata.sorted_tables:
            connection.exec_driver_sql(f"ALTER TABLE IF EXISTS {table.name} SET SCHEMA {aside}")
    return f"schema {aside}"
