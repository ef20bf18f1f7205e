"""Server processes: start one, wait until it answers, end it with everything that it started."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path


class PartMissing(Exception):
    """This machine cannot start the server. The message names the command that installs what is missing."""


def cache_folder() -> Path:
    """The folder of downloaded and built programs: ``STREAM_INFER_PARTS``, else the user's cache."""
    named = os.environ.get("STREAM_INFER_PARTS")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(named) if named else Path(base) / "stream-infer"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock while the block runs, so that one process at a time builds."""
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def docker_answers() -> bool:
    """True if a Docker engine answers and this user may use it."""
    try:
        import docker  # type: ignore[import-untyped]

        docker.from_env(timeout=3).ping()
    except Exception:  # the client raises many types where no engine answers
        return False
    return True


class Server:
    """A server process that can be killed and started again at the same port; its log is kept across starts."""

    def __init__(
        self, command: Sequence[str], log: Path, port: int, timeout: float = 60.0, env: Mapping[str, str] | None = None
    ) -> None:
        self._command, self._log, self._port, self._timeout, self._env = command, log, port, timeout, env
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process of the last start."""
        if self._process is None:
            raise RuntimeError(f"{self._log.stem} was never started")
        return self._process

    def start(self) -> None:
        """Start it and return when it accepts connections.

        Raises:
            RuntimeError: it ended or did not answer in time; with the end of its log.
        """
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C must not reach it; `stop` ends it
                env={**os.environ, **(self._env or {})},
            )
        _await(self.process, self._log, self._port, self._timeout)

    def kill(self) -> None:
        """Kill it with everything that it started, as a crash of its machine would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End it. Safe to call when it does not run."""
        if self._process is not None:
            stop(self._process)


@contextlib.contextmanager
def server(
    command: Sequence[str], log: Path, port: int, timeout: float = 60.0, env: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run a server while the block runs; enters when it accepts connections.

    Raises:
        RuntimeError: it ended or did not answer within ``timeout`` seconds; with the end of its log.
    """
    running = Server(command, log, port, timeout, env)
    try:
        running.start()
        yield running
    finally:
        running.stop()


def stop(process: subprocess.Popen[bytes], timeout: float = 10.0) -> None:
    """End a process and its group with SIGTERM, and with SIGKILL after ``timeout`` seconds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout)
            break


def _await(process: subprocess.Popen[bytes], log: Path, port: int, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
            return
        time.sleep(0.05)
    tail = log.read_text(errors="replace")[-1500:]
    raise RuntimeError(f"{log.stem} did not start: {tail}")
