"""The application: probes, metrics, the page and the API, behind the guard."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from importlib.metadata import version
from importlib.resources import files
from urllib.parse import parse_qs

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from fastapi.staticfiles import StaticFiles
from prometheus_client.exposition import choose_encoder
from starlette.types import ASGIApp

from stream_infer.errors import StreamInferError
from stream_infer.ops.service.api import add_error_handlers, build_router
from stream_infer.ops.service.guard import Guard, Keys
from stream_infer.ops.service.page import Page
from stream_infer.ops.watch.search import absent, search
from stream_infer.ops.watch.watcher import Published, Watcher
from stream_infer.pipeline import Pipeline

_FORM_BYTES = 4096


def build_app(pipeline: Pipeline, watcher: Watcher) -> ASGIApp:
    """The guarded application of one pipeline."""
    keys = Keys.of(pipeline.settings)
    release = version("stream-infer")
    about = f"Status, rejects and splits of the pipeline {pipeline.settings.name}; every error is one sentence."
    app = FastAPI(
        title="stream-infer",
        version=release,
        description=about,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    page = Page(release, login=keys.token is not None)
    add_error_handlers(app)
    _add_probes(app, pipeline)
    app.include_router(build_router(pipeline, watcher))
    _add_page(app, pipeline, watcher, page)
    _add_login(app, pipeline, keys, page)
    app.mount("/static", StaticFiles(directory=str(files("stream_infer.ops.service") / "static")))
    return Guard(app, keys)


def _add_probes(app: FastAPI, pipeline: Pipeline) -> None:
    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "alive"}

    @app.get("/readyz", responses={503: {"description": "not ready now"}})
    def readyz() -> JSONResponse:
        """New work is taken at once."""
        live = pipeline.live()
        return JSONResponse({"state": live["state"]}, 200 if live["ready"] else 503)

    @app.get("/metrics", include_in_schema=False)
    def metrics(request: Request) -> Response:
        """The metrics: as OpenMetrics with exemplars if the client accepts it, else as Prometheus text."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(pipeline.metrics.registry), headers={"content-type": content_type})


def _add_page(app: FastAPI, pipeline: Pipeline, watcher: Watcher, page: Page) -> None:
    parts = _Parts(page)

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def whole(where: str | None = Query(default=None, max_length=2000)) -> str:
        snapshot = watcher.now()
        if not where or not where.strip():
            return page.whole(snapshot)
        try:
            endings = search(pipeline.settings, pipeline.ledger(), where)
            explanation = None if endings else absent(pipeline.settings, pipeline.ledger(), where)
        except StreamInferError as error:
            return page.whole(snapshot, asked=where, problem=str(error))
        return page.whole(snapshot, asked=where, endings=endings, explanation=explanation)

    @app.get("/events", response_class=EventSourceResponse, include_in_schema=False)
    async def events() -> AsyncIterator[ServerSentEvent]:
        async for published in watcher.listen():
            yield ServerSentEvent(event="parts", id=str(published.number), raw_data=parts.of(published))

    @app.get("/api/docs", response_class=HTMLResponse, include_in_schema=False)
    def docs() -> str:
        paths = app.openapi()["paths"].items()
        calls = [(path, name.upper(), call["description"]) for path, methods in paths for name, call in methods.items()]
        return page.docs(calls)


class _Parts:
    """The live parts of the page as JSON, rendered once for all listeners. For one event loop."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._rendered: tuple[int, str] = (0, "")

    def of(self, published: Published) -> str:
        if self._rendered[0] != published.number:
            self._rendered = (published.number, json.dumps(self._page.parts(published.snapshot)))
        return self._rendered[1]


def _add_login(app: FastAPI, pipeline: Pipeline, keys: Keys, page: Page) -> None:
    name = pipeline.settings.name

    @app.get("/login", response_class=HTMLResponse, include_in_schema=False)
    def form() -> Response:
        if keys.token is None:
            return RedirectResponse("/", 303)
        return HTMLResponse(page.login(name, wrong=False))

    @app.post("/login", include_in_schema=False)
    async def login(request: Request) -> Response:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _FORM_BYTES:
                break
        offered = parse_qs(body[:_FORM_BYTES].decode("utf-8", "replace")).get("token", [""])[0]
        if not keys.is_token(offered):
            await asyncio.sleep(1.0)  # slows guessing down without holding a thread
            return HTMLResponse(page.login(name, wrong=True), 401)
        answer = RedirectResponse("/", 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(keys.cookie, keys.pass_value, httponly=True, samesite="strict", secure=secure)
        return answer

    @app.post("/logout", include_in_schema=False)
    def logout() -> Response:
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(keys.cookie)
        return answer
