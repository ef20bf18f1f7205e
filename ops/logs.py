"""What ``run`` writes on stderr: text for a person, or one JSON document a line for a machine; never a secret."""

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

_OURS = ("stream_infer", "connectors", "ops")
_RAY = "_ray_timestamp_ns"  # Ray puts it on every record


def log_to(console: Console, kind: Literal["auto", "json", "text"], redact: Callable[[str], str]) -> None:
    """Send the logs of this process to stderr.

    Lines know what they speak of: ``source``, ``split``, ``coordinate``, ``trace_id``, ``execution`` are fields of their
    own in JSON. No line stands for a record that went well.

    Args:
        kind: ``auto`` is text on a terminal and JSON elsewhere.
        redact: takes secrets out of a finished line.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    inner: logging.Formatter
    if kind == "json" or (kind == "auto" and not console.is_terminal):
        inner = JsonFormatter(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            reserved_attrs=[*RESERVED_ATTRS, _RAY],
        )
        inner.default_time_format, inner.default_msec_format = "%Y-%m-%dT%H:%M:%S", "%s.%03dZ"
        inner.converter = time.gmtime
    elif console.is_terminal:
        handler, inner = RichHandler(console=console, show_path=False), logging.Formatter("%(message)s")
    else:
        inner = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(_Redacting(inner, redact))
    handler.addFilter(_is_no_chatter)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in _OURS:
        logging.getLogger(name).setLevel(logging.INFO)


def tame_ray() -> None:
    """From now on Ray speaks through our log, and only of errors.

    To be called once Ray is imported, and again once Ray Data is: that one sets up a console of its own.
    Whatever Ray writes on stdout about dying workers, which the service outlives and tells of in its own words, becomes
    a debug line. Ray prints until the process has ended, so stdout stays replaced.
    """
    for logger in map(logging.getLogger, ("ray", "ray.data")):
        logger.handlers = [each for each in logger.handlers if not isinstance(each, logging.StreamHandler)]
        logger.propagate = True
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    if not isinstance(sys.stdout, _Chatter):
        sys.stdout = _Chatter()


class _Redacting(logging.Formatter):
    """Formats as another one does, and looks over the result: tracebacks and fields included."""

    def __init__(self, inner: logging.Formatter, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._inner = inner
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(self._inner.format(record))


class _Chatter(io.TextIOBase):
    """A stdout whose lines are debug messages."""

    def __init__(self) -> None:
        self._log = logging.getLogger("ray.stdout")

    def write(self, text: str) -> int:
        for line in filter(None, map(str.strip, text.splitlines())):
            self._log.debug("%s", line)
        return len(text)

    def writable(self) -> bool:
        return True


def _is_no_chatter(record: logging.LogRecord) -> bool:
    chatty = record.name == "ray" or record.name.startswith("ray.")
    return not chatty or record.levelno >= logging.ERROR or logging.getLogger().level <= logging.DEBUG
