"""The address of a pipeline's service: from ``serve.port``, or from a note where the system chose the port.

The note is a file in the user's temporary folder, named after the pipeline and its ledger. It has the URL of a service with
``port: 0`` and is removed when the service ends. After a crash it may be outdated: then nobody answers at that URL.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stream_infer import config
from stream_infer.errors import ConfigError, Fatal


class NoService(Fatal):
    """No service answers at the address."""


class Silent(NoService):
    """The service accepts connections and does not answer in time."""


def address(settings: config.PipelineSettings) -> str:
    """The URL of the service.

    Raises:
        ConfigError: the pipeline serves nothing (``serve: null``).
        NoService: the port is not known, because no service of this pipeline runs.
    """
    serve = settings.serve
    if serve is None:
        raise ConfigError("serve: is null, so the service has no address; write serve: {port: 8000}")
    if serve.port:
        return url_of(serve.host, serve.port)
    try:
        return _note(settings).read_text(encoding="utf-8").strip()
    except OSError:
        raise NoService(f"no service of {settings.name} runs here; start it: stream-infer run FILE") from None


@contextmanager
def advertised(settings: config.PipelineSettings, url: str) -> Iterator[None]:
    """Keep the note while the block runs, if the pipeline file does not name the port."""
    if settings.serve is None or settings.serve.port:
        yield
        return
    note = _note(settings)
    with suppress(OSError):  # without the note only the commands that need it fail
        note.parent.mkdir(mode=0o700, exist_ok=True)
        note.write_text(url, encoding="utf-8")
    try:
        yield
    finally:
        with suppress(OSError):
            if note.read_text(encoding="utf-8") == url:
                note.unlink()


def url_of(host: str, port: int) -> str:
    """The URL at which this machine reaches a service that listens on a host."""
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if parsed.is_unspecified:
        return f"http://{'[::1]' if parsed.version == 6 else '127.0.0.1'}:{port}"
    return f"http://[{host}]:{port}" if parsed.version == 6 else f"http://{host}:{port}"


def _note(settings: config.PipelineSettings) -> Path:
    ledger = settings.ledger
    if ledger.startswith("sqlite:///"):  # one key for the file, whatever the current folder
        ledger = os.path.abspath(ledger.removeprefix("sqlite:///"))
    key = hashlib.blake2b(ledger.encode(), digest_size=8).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"stream-infer-{os.getuid()}"
    if folder.exists() and folder.stat().st_uid != os.getuid():
        raise Fatal(f"{folder} belongs to another user; remove it, or set serve.port")
    return folder / f"{settings.name}-{key}.url"
