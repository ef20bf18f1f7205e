"""The guard of all requests: the Host header, the token, and the origin of a request that changes something.

A browser sends any request that a foreign page makes. Three checks keep such a page out: the host must be an allowed one (a
name that a stranger's DNS points here is not), the token must be sent if one is set, and a request that changes something
must come from this page or from no page at all.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from stream_infer import config

OPEN = frozenset({"/healthz", "/readyz"})  # probes have no token and use an address
_NO_LOGIN = frozenset({"/login", "/static/page.css", "/static/icon.svg"})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
MARK = "x-stream-infer"  # a header that a foreign page can set only after a preflight request, which is refused
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_NO_STORE = ("cache-control", "no-store")  # a browser keeps nothing after a log-out, and shows no old numbers


@dataclass(frozen=True, slots=True)
class Keys:
    """Token, cookie and host names that a request is compared with. Never shown."""

    token: str | None
    cookie: str
    hosts: frozenset[str]

    @classmethod
    def of(cls, settings: config.PipelineSettings) -> Keys:
        serve = settings.serve or config.Serve()
        hosts = {"localhost", serve.host.lower(), *(host.lower() for host in serve.hosts)}
        return cls(serve.token, f"stream-infer-{settings.name}", frozenset(hosts))

    @property
    def pass_value(self) -> str:
        """The cookie's value: derived from the token, reveals nothing of it, and is invalid once the token changes."""
        return hmac.new((self.token or "").encode(), b"stream-infer page", hashlib.sha256).hexdigest()

    def is_token(self, offered: str) -> bool:
        """True for the token; compares in constant time."""
        return self.token is not None and hmac.compare_digest(offered.encode(), self.token.encode())

    def admits(self, headers: Mapping[str, str]) -> bool:
        """True with the bearer token or the page's cookie, and where no token is set."""
        return self.token is None or self.is_token(_bearer(headers)) or self._has_pass(headers)

    def knows_host(self, header: str) -> bool:
        """True for an address, a loopback name or an allowed name. DNS can point a stranger's name here, but no address."""
        name = host_name(header)
        return name in self.hosts or name.endswith(".localhost") or _is_address(name)

    def _has_pass(self, headers: Mapping[str, str]) -> bool:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        return cookie is not None and hmac.compare_digest(cookie.value.encode(), self.pass_value.encode())


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)

        async def with_headers(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                named = _HEADERS.items() if scope["path"].startswith("/static/") else (*_HEADERS.items(), _NO_STORE)
                raw = [(name.lower().encode(), value.encode()) for name, value in named]
                message = {**message, "headers": [*message.get("headers", ()), *raw]}  # type: ignore[misc]
            await send(message)

        await (refusal or self._app)(scope, receive, with_headers)  # type: ignore[arg-type]

    def _refusal(self, scope: Scope) -> Response | None:
        """The answer to a request that is refused; None if it is admitted."""
        path, headers = scope["path"], Headers(scope=scope)
        if path in OPEN and scope["method"] in _SAFE:
            return None
        if not self._keys.knows_host(headers.get("host", "")) and not self._keys.is_token(_bearer(headers)):
            return problem(
                421,
                "this host name is not allowed: use an IP address, or add the name to serve.hosts in the pipeline file",
            )
        if scope["method"] not in _SAFE and not is_same_site(headers, path):
            return problem(
                403, f"a request that changes something needs the header {MARK}, and must come from no other site"
            )
        if path in _NO_LOGIN or self._keys.admits(headers):
            return None
        if "text/html" in headers.get("accept", "") and scope["method"] in _SAFE:
            return RedirectResponse("/login", 303)
        return problem(
            401, "send the token of serve.token as: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
        )


def is_same_site(headers: Mapping[str, str], path: str) -> bool:
    """True if a request that changes something comes from our page or from no page, not from another site's page.

    Our forms (login, logout) cannot set a header; for them the browser must state that the site is the same.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        return False
    if origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower():
        return False
    is_form = path in ("/login", "/logout") and (site is not None or origin is not None)
    return is_form or MARK in headers or bool(_bearer(headers))


def problem(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error in the form of the API."""
    return JSONResponse({"error": sentence}, status, headers)


def host_name(header: str) -> str:
    """The name in a Host header, without the port."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.rpartition(":")[0] if text.count(":") == 1 else text


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
