"""Logging of ``run`` to stderr: text for a person, or one JSON document per line for a machine; never a secret."""

from __future__ import annotations

import io
import logging
import sys
import time
from collections.abc import Callable
from typing import Literal

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter
from rich.console import Console
from rich.logging import RichHandler

_OWN_LOGGER = "stream_infer"
_RAY_TIMESTAMP = "_ray_timestamp_ns"  # Ray adds it to every log record


def log_to(console: Console, kind: Literal["auto", "json", "text"], redact: Callable[[str], str]) -> None:
    """Send the logs of this process to stderr.

    In JSON, ``source``, ``split``, ``coordinate``, ``trace_id`` and ``execution`` are fields of their own. A record that was
    processed without an error has no line.

    Args:
        kind: ``auto`` is text on a terminal and JSON elsewhere.
        redact: removes secrets from a formatted line.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    inner: logging.Formatter
    if kind == "json" or (kind == "auto" and not console.is_terminal):
        inner = JsonFormatter(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            reserved_attrs=[*RESERVED_ATTRS, _RAY_TIMESTAMP],
        )
        inner.default_time_format, inner.default_msec_format = "%Y-%m-%dT%H:%M:%S", "%s.%03dZ"
        inner.converter = time.gmtime
    elif console.is_terminal:
        handler, inner = RichHandler(console=console, show_path=False), logging.Formatter("%(message)s")
    else:
        inner = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(_RedactingFormatter(inner, redact))
    handler.addFilter(_is_worth_logging)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.getLogger(_OWN_LOGGER).setLevel(logging.INFO)


def tame_ray() -> None:
    """Send Ray's log through ours, errors only.

    Call it after Ray is imported and again after Ray Data is, which sets up a console of its own. Ray's prints on stdout
    about workers that died become debug lines: the service survives those deaths and logs them itself. Ray prints until
    the process has ended, so stdout stays replaced.
    """
    for logger in map(logging.getLogger, ("ray", "ray.data")):
        logger.handlers = [handler for handler in logger.handlers if not isinstance(handler, logging.StreamHandler)]
        logger.propagate = True
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    if not isinstance(sys.stdout, _DebugStdout):
        sys.stdout = _DebugStdout()


class _RedactingFormatter(logging.Formatter):
    """A formatter that removes secrets from the result of another one, tracebacks and fields included."""

    def __init__(self, inner: logging.Formatter, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._inner = inner
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(self._inner.format(record))


class _DebugStdout(io.TextIOBase):
    """A stdout that logs each line as a debug message."""

    def __init__(self) -> None:
        self._log = logging.getLogger("ray.stdout")

    def write(self, text: str) -> int:
        for line in filter(None, map(str.strip, text.splitlines())):
            self._log.debug("%s", line)
        return len(text)

    def writable(self) -> bool:
        return True


def _is_worth_logging(record: logging.LogRecord) -> bool:
    """False for a Ray message below an error, unless debug messages are wanted."""
    from_ray = record.name == "ray" or record.name.startswith("ray.")
    return not from_ray or record.levelno >= logging.ERROR or logging.getLogger().level <= logging.DEBUG
