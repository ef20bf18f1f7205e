"""Toxiproxy: a proxy for TCP that cuts, slows and limits connections on request. Built with the machine's Go."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

from stream_infer.ops.parts.process import PartMissing, cache_folder, free_port, locked, server

_MODULE = "github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0"


@dataclass(frozen=True, slots=True)
class Proxy:
    """One port that forwards to another.

    Attributes:
        port: the port for clients.
    """

    port: int
    _url: str

    def cut(self) -> None:
        """Refuse new connections and drop the existing ones."""
        _ask("POST", self._url, {"enabled": False})

    def mend(self) -> None:
        """Accept connections again."""
        _ask("POST", self._url, {"enabled": True})

    def toxic(self, kind: str, **attributes: int) -> None:
        """Disturb the data towards the client: ``latency``, ``bandwidth``, ``timeout``, ``reset_peer``, ``limit_data`` …"""
        _ask("POST", f"{self._url}/toxics", {"name": kind, "type": kind, "attributes": attributes})

    def clear(self) -> None:
        """Remove every toxic."""
        for toxic in _ask("GET", f"{self._url}/toxics"):
            _ask("DELETE", f"{self._url}/toxics/{toxic['name']}")


@dataclass(frozen=True, slots=True)
class Toxiproxy:
    """A running Toxiproxy."""

    _url: str

    def proxy(self, name: str, upstream: int) -> Proxy:
        """Add a proxy for a port of this machine, which need not answer yet."""
        port = free_port()
        listen = {"name": name, "listen": f"127.0.0.1:{port}", "upstream": f"127.0.0.1:{upstream}", "enabled": True}
        _ask("POST", f"{self._url}/proxies", listen)
        return Proxy(port, f"{self._url}/proxies/{name}")


@contextlib.contextmanager
def start_toxiproxy(folder: Path) -> Iterator[Toxiproxy]:
    """Run Toxiproxy while the block runs; its log is in ``folder``.

    Raises:
        PartMissing: it was never built here and Go is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    with server([str(_binary()), "-host", "127.0.0.1", "-port", str(port)], folder / "toxiproxy.log", port):
        yield Toxiproxy(f"http://127.0.0.1:{port}")


def _ask(method: str, url: str, document: dict[str, Any] | None = None) -> Any:
    body = None if document is None else json.dumps(document).encode()
    # it refuses the user agent of a browser
    request = Request(url, body, {"User-Agent": "stream-infer", "Content-Type": "application/json"}, method=method)
    with build_opener(ProxyHandler({})).open(request, timeout=10) as answer:
        content = answer.read()
    return json.loads(content) if content else None


def _binary() -> Path:
    binary = cache_folder() / "gobin" / "server"
    if binary.exists():
        return binary
    if not shutil.which("go"):
        raise PartMissing("no Go to build Toxiproxy: unpack it from https://go.dev/dl")
    with locked(cache_folder()):
        if not binary.exists():
            subprocess.run(["go", "install", _MODULE], check=True, env={**os.environ, "GOBIN": str(binary.parent)})
    return binary
