"""The databases that a ledger may live in: SQLite always, PostgreSQL where its binaries are installed."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from ops.parts.process import free_port
from stream_infer.ledger import schema
from stream_infer.ledger.store import parse_url


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a database of a real server."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    control = str(installed[-1]) if installed else shutil.which("pg_ctl")
    if control is None:
        pytest.skip("PostgreSQL is not installed: no pg_ctl")
    # the server refuses to run as root, and nobody may not enter pytest's own folders
    given: dict[str, Any] = {"user": "nobody", "extra_groups": []} if os.getuid() == 0 else {}
    folder, port = Path(tempfile.mkdtemp(prefix="postgres-")), free_port()
    if given:
        shutil.chown(folder, "nobody")

    def run(name: str, *arguments: str) -> None:
        command = [str(Path(control).with_name(name)), "-D", f"{folder}/data", *arguments]
        with (folder / f"{name}.txt").open("ab") as log:
            subprocess.run(
                command, check=True, stdout=log, stderr=log, cwd="/", env={**os.environ, "HOME": str(folder)}, **given
            )

    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    try:
        run("initdb", "-U", "test", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        run("pg_ctl", "-w", "-l", f"{folder}/log.txt", "-o", options, "start")
        yield f"postgresql+psycopg://test@127.0.0.1:{port}/postgres"
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            run("pg_ctl", "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """A factory: the URL of an empty database; on PostgreSQL always the same, emptied."""
    if request.param == "sqlite":
        numbers = iter(range(1_000_000))
        return lambda: f"sqlite:///{tmp_path}/ledger-{next(numbers)}.db"
    url: str = request.getfixturevalue("postgres")

    def emptied() -> str:
        engine = create_engine(parse_url(url))
        schema.metadata.drop_all(engine)
        engine.dispose()
        return url

    return emptied


@pytest.fixture
def url(new_url: Callable[[], str]) -> str:
    """The URL of an empty database."""
    return new_url()
