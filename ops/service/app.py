"""Routes. They read; nothing here changes the pipeline."""

from __future__ import annotations

import dataclasses
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse, JSONResponse
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest

from stream_infer.errors import ConfigError, StreamInferError
from stream_infer.pipeline import Pipeline
from stream_infer.where import where


def build_app(pipeline: Pipeline) -> FastAPI:
    """The application of one pipeline."""
    app = FastAPI(title="stream-infer", docs_url="/api/docs", openapi_url="/api/openapi.json")

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "alive"}

    @app.get("/readyz")
    def readyz() -> JSONResponse:
        """Work that arrives now is taken at once."""
        live = pipeline.live()
        return JSONResponse({"state": live["state"]}, 200 if live["ready"] else 503)

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(pipeline.metrics.registry), media_type=OPENMETRICS)

    @app.get("/api/v1/status")
    def status() -> JSONResponse:
        try:
            return JSONResponse(pipeline.status())
        except StreamInferError as error:
            return JSONResponse({"error": str(error)}, 503)

    @app.get("/api/v1/where")
    def whereabouts(name: str) -> JSONResponse:
        try:
            found: list[dict[str, Any]] = [dataclasses.asdict(item) for item in where(pipeline.ledger(), name)]
        except ConfigError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(found, 200 if found else 404)

    @app.get("/", response_class=HTMLResponse)
    def page() -> str:
        return files("ops.service").joinpath("page.html").read_text(encoding="utf-8")

    return app
