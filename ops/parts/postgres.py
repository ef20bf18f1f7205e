"""A PostgreSQL server from the machine's installation."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stream_infer.ops.parts.process import PartMissing, free_port


class Postgres:
    """A server with a folder of its own.

    Attributes:
        port: its port on 127.0.0.1; user ``test``, database ``postgres``, no password.
    """

    def __init__(self, control: Path, folder: Path, port: int) -> None:
        self._control, self._folder, self.port = control, folder, port

    @property
    def url(self) -> str:
        return self.url_at(self.port)

    def url_at(self, port: int) -> str:
        """The ledger setting for this server at another port, such as a proxy's."""
        return f"postgresql+psycopg://test@127.0.0.1:{port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self.run("pg_ctl", "-w", "-l", f"{self._folder}/log.txt", "-o", options, "start")

    def crash(self) -> None:
        """Kill it; the next start recovers from its log."""
        self.run("pg_ctl", "-m", "immediate", "-w", "stop")

    def run(self, name: str, *arguments: str) -> None:
        """Run one of the server's programs on the data folder: as nobody if we are root, because it refuses to run as root."""
        user: dict[str, Any] = {"user": "nobody", "extra_groups": []} if os.getuid() == 0 else {}
        command = [str(self._control.with_name(name)), "-D", f"{self._folder}/data", *arguments]
        with (self._folder / f"{name}.txt").open("ab") as log:
            environment = {**os.environ, "HOME": str(self._folder)}
            subprocess.run(command, check=True, stdout=log, stderr=log, cwd="/", env=environment, **user)


@contextlib.contextmanager
def start_postgres() -> Iterator[Postgres]:
    """Run a server while the block runs, in a temporary folder of its own.

    Raises:
        PartMissing: PostgreSQL is not installed.
    """
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    control = str(installed[-1]) if installed else shutil.which("pg_ctl")
    if control is None:
        raise PartMissing("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # the user nobody may not enter the folders of tests
    if os.getuid() == 0:
        shutil.chown(folder, "nobody")
    postgres = Postgres(Path(control), folder, free_port())
    try:
        postgres.run("initdb", "-U", "test", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        postgres.start()
        yield postgres
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            postgres.crash()
        shutil.rmtree(folder, ignore_errors=True)
