"""A receiver of OTLP over HTTP in this process, as a collector would be."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Receiver:
    """Keeps what it is sent.

    Attributes:
        headers: of each request.
    """

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        self._requests: list[ExportTraceServiceRequest] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                is_traces = self.path == "/v1/traces"
                if is_traces:
                    receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
                    receiver._requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200 if is_traces else 404)
                self.end_headers()
                self.wfile.write(ExportTraceServiceResponse().SerializeToString())

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Receiver:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def spans(self) -> list[Span]:
        """In the order of their starts."""
        return sorted(self._all(), key=lambda span: (span.start_time_unix_nano, span.end_time_unix_nano))

    def attributes(self, span: Span) -> dict[str, Any]:
        return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}

    def _all(self) -> Iterator[Span]:
        for request in list(self._requests):
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    yield from scope.spans
