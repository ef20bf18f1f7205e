"""A proxy before an S3 server that changes, cuts and delays HTTP answers."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_HOP = ("connection", "keep-alive", "transfer-encoding")  # headers of one connection, not of the message
_ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'


@dataclass
class Answer:
    """An answer of the server.

    Attributes:
        cut: bytes of the body after which the connection ends; None sends all of it.
        pause: seconds between slices of the body.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    cut: int | None = None
    pause: float = 0.0


@dataclass
class Fault:
    """A fault of the requests that match. It lasts until it is lifted or used up.

    Attributes:
        method / path: regular expressions of the whole method and of a part of the path with its query.
        before: called before the request is handed on.
        spoil: makes another answer of the server's; None resets the connection after the effect.
        instead: an answer without asking the server.
        left: how many requests more; None without end.
        matched_requests: the number of requests that it changed.
    """

    method: str
    path: str
    before: Callable[[], object] | None = None
    spoil: Callable[[Answer], Answer | None] | None = None
    instead: Callable[[], Answer] | None = None
    left: int | None = None
    matched_requests: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def takes(self, method: str, path: str) -> bool:
        with self._lock:
            if self.left == 0 or not re.fullmatch(self.method, method) or not re.search(self.path, path):
                return False
            self.matched_requests += 1
            if self.left is not None:
                self.left -= 1
            return True


def refused(status: int, code: str) -> Callable[[], Answer]:
    """An answer of that status with S3's error document."""
    body = _ERROR.format(code=code).encode()
    return lambda: Answer(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))], body)


def error_in_ok(answer: Answer) -> Answer:
    """An answer of status 200 whose body is an error document."""
    return Answer(200, refused(200, "InternalError")().headers, refused(200, "InternalError")().body)


def truncated(answer: Answer) -> Answer:
    """The answer, with a connection that ends in the middle of the body."""
    return Answer(answer.status, answer.headers, answer.body, cut=len(answer.body) // 2)


def shortened(answer: Answer) -> Answer:
    """Half of the body under headers that match it, as a broken gateway sends it."""
    body = answer.body[: len(answer.body) // 2]
    headers = [(name, value) for name, value in answer.headers if name.lower() != "content-length"]
    return Answer(answer.status, [*headers, ("Content-Length", str(len(body)))], body)


def trickled(answer: Answer) -> Answer:
    """The answer, a few bytes at a time."""
    return Answer(answer.status, answer.headers, answer.body, pause=0.05)


def reset(_: Answer) -> None:
    """No reply: the connection is reset after the request took effect."""
    return


class FaultProxy:
    """Listens on ``port`` and hands every request on unchanged, signature and Host included."""

    def __init__(self, upstream: str) -> None:
        self.faults: list[Fault] = []
        self._host, _, port = upstream.removeprefix("http://").partition(":")
        self._upstream_port = int(port)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True, name="fault-proxy").start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextlib.contextmanager
    def fault(self, method: str, path: str, **what: Any) -> Iterator[Fault]:
        """Apply a fault while the block runs."""
        fault = Fault(method, path, **what)
        self.faults.append(fault)
        try:
            yield fault
        finally:
            self.faults.remove(fault)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _ask(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> Answer:
        connection = HTTPConnection(self._host, self._upstream_port, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:
                if name.lower() not in ("expect", "connection"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP]
            content = answer.read()
            if not any(name.lower() == "content-length" for name, _ in kept):
                kept.append(("Content-Length", str(len(content))))
            return Answer(answer.status, kept, content)
        finally:
            connection.close()

    def _handler(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _handle(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fault = next((fault for fault in proxy.faults if fault.takes(self.command, self.path)), None)
                if fault is not None and fault.before is not None:
                    fault.before()
                if fault is not None and fault.instead is not None:
                    answer: Answer | None = fault.instead()
                else:
                    answer = proxy._ask(self.command, self.path, self.headers.items(), body)
                    if fault is not None and fault.spoil is not None:
                        answer = fault.spoil(answer)
                if answer is None:
                    self._reset()
                else:
                    self._send(answer)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _handle

            def _send(self, answer: Answer) -> None:
                self.send_response_only(answer.status)
                for name, value in answer.headers:
                    self.send_header(name, value)
                self.end_headers()
                body = b"" if self.command == "HEAD" else answer.body[: answer.cut]
                if answer.pause:
                    for start in range(0, len(body), 64):
                        self.wfile.write(body[start : start + 64])
                        self.wfile.flush()
                        time.sleep(answer.pause)
                else:
                    self.wfile.write(body)
                if answer.cut is not None:
                    self._reset()

            def _reset(self) -> None:
                """Close with RST instead of FIN."""
                self.wfile.flush()
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                return

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError, TimeoutError):
                    super().handle()

        return Handler
