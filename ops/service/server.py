"""The HTTP server's thread."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from stream_infer.errors import ConfigError
from stream_infer.ops.service.app import build_app
from stream_infer.ops.watch.address import advertised, url_of
from stream_infer.ops.watch.watcher import Watcher
from stream_infer.pipeline import Pipeline

log = logging.getLogger(__name__)


@contextmanager
def serving(pipeline: Pipeline) -> Iterator[str | None]:
    """Serve while the block runs; yields the URL, or None for ``serve: null``.

    Raises:
        ConfigError: the port is in use.
    """
    settings = pipeline.settings.serve
    if settings is None:
        yield None
        return
    listening = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(128)  # requests that come before the server runs wait in the queue
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"serve.port: {settings.host}:{settings.port} cannot be used ({error.strerror}); write another port, or 0"
        ) from None
    watcher = Watcher(pipeline)
    server = uvicorn.Server(
        uvicorn.Config(build_app(pipeline, watcher), log_level="warning", log_config=None, access_log=False)
    )
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # the command line owns the signals
    thread = threading.Thread(target=server.run, args=([listening],), name="http", daemon=True)
    watcher.start()
    thread.start()
    url = url_of(settings.host, listening.getsockname()[1])
    log.info("status page at %s", url)
    try:
        with advertised(pipeline.settings, url):
            yield url
    finally:
        watcher.stop()
        server.should_exit = True
        thread.join(5.0)
        listening.close()
