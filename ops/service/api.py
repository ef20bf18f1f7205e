"""The API, ``/api/v1``: the status page's content for machines. Errors are ``{"error": "one sentence"}``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, HTTPException, Query, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from starlette.exceptions import HTTPException as AnyHTTPException

from stream_infer.errors import ConfigError, Retryable, StreamInferError
from stream_infer.ops.rejects import details
from stream_infer.ops.service.guard import problem
from stream_infer.ops.watch.assembly import shown_split
from stream_infer.ops.watch.search import absent, search
from stream_infer.ops.watch.snapshot import Finding, Reject, Severity, Snapshot, Split
from stream_infer.ops.watch.watcher import Watcher
from stream_infer.pipeline import Pipeline
from stream_infer.rejects import RejectQuery, State

_bearer = HTTPBearer(auto_error=False, description="the setting serve.token, where one is set")


# no NUL, so that every database can store and compare it
Text = Annotated[str, StringConstraints(min_length=1, max_length=4000, pattern=r"^[^\x00]*$")]


class Problem(BaseModel):
    """An error in one sentence."""

    error: str


class Ending(BaseModel):
    """How a record or an object ended, by the split that has it."""

    record: str
    state: str = Field(description="in_flight, committed, rejected, lost or bisected")
    split_id: str
    source: str
    file: str | None = Field(description="output file with its row, relative to the sink")
    attempts: int
    reason: str | None = Field(default=None, description="why it was rejected or lost")


class Rejection(BaseModel):
    """One rejection of a record."""

    stage: str
    error: str
    reason: str
    attempts: int
    rejected_at: float
    replay: int = Field(description="number of the replay that ended so; 0 for the first time")
    split_id: str


class RejectDetail(Reject):
    """A reject with its sample and its history."""

    split_id: str
    replay_split: str | None = None
    sample: dict[str, str] | None = Field(
        default=None, description="the beginning of its payload, if the ledger keeps one"
    )
    history: list[Rejection] = Field(description="every time it was rejected, oldest first")


class Replay(BaseModel):
    """A selection of open rejects that meet every given condition; without a condition, all of them."""

    model_config = ConfigDict(extra="forbid")

    records: list[Text] = Field(default_factory=list, max_length=10_000)
    source: Text | None = None
    error: Text | None = None
    since: float | None = Field(default=None, allow_inf_nan=False, description="rejected at or after, epoch seconds")
    until: float | None = Field(default=None, allow_inf_nan=False, description="rejected before, epoch seconds")


class Asked(BaseModel):
    """The number of rejects that will be replayed."""

    asked: int


class Verdict(BaseModel):
    """The doctor's answer, the worst finding first."""

    severity: Severity
    verdict: str
    advice: str
    findings: list[Finding]


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": description}
    for status, description in (
        (400, "the request has no meaning for this pipeline"),
        (401, "a token is needed"),
        (403, "the request comes from another site"),
        (421, "the host name is not allowed"),
        (422, "a parameter is wrong"),
        (503, "the ledger does not answer"),
    )
}
Name = Annotated[Text, Query(description="record id, object URL, key, topic/0/17 or offset")]
Limit = Annotated[int, Query(ge=1, le=500, description="most to list")]


def build_router(pipeline: Pipeline, watcher: Watcher) -> APIRouter:
    """The routes. They only ask the pipeline and the watcher."""
    router = APIRouter(prefix="/api/v1", responses=_PROBLEMS, dependencies=[Security(_bearer)])

    @router.get("/status")
    def status() -> Snapshot:
        """Everything that the status page shows, computed now."""
        return watcher.now()

    @router.get("/doctor")
    def doctor() -> Verdict:
        """Whether the pipeline is healthy, and if not, why and what to do."""
        findings = watcher.now().findings
        worst = findings[0]
        return Verdict(severity=worst.severity, verdict=worst.sentence, advice=worst.advice, findings=findings)

    @router.get("/events", response_class=EventSourceResponse)
    async def events() -> AsyncIterator[ServerSentEvent]:
        """The status, every second, as server-sent events named `snapshot`."""
        async for published in watcher.listen():
            yield ServerSentEvent(event="snapshot", id=str(published.number), raw_data=published.json)

    @router.get("/where", responses={404: {"model": Problem, "description": "it was never planned"}})
    def where(name: Name) -> list[Ending]:
        """How a record or an object ended."""
        endings = [
            Ending.model_validate(item, from_attributes=True)
            for item in search(pipeline.settings, pipeline.ledger(), name)
        ]
        if not endings:
            raise HTTPException(404, absent(pipeline.settings, pipeline.ledger(), name))
        return endings

    @router.get("/splits")
    def splits(limit: Limit = 50) -> list[Split]:
        """The splits that were planned last, newest first."""
        return [shown_split(item) for item in pipeline.ledger().recent(limit)]

    _add_rejects(router, pipeline)
    return router


def _add_rejects(router: APIRouter, pipeline: Pipeline) -> None:
    @router.get("/rejects")
    def rejects(
        source: Annotated[Text | None, Query(description="only of this source")] = None,
        error: Annotated[Text | None, Query(description="only with this class of the error")] = None,
        state: Annotated[State | None, Query(description="only in this state")] = None,
        limit: Limit = 50,
        offset: Annotated[int, Query(ge=0, le=10**9, description="how many of the newest to skip")] = 0,
    ) -> list[Reject]:
        """Records that could not be processed, newest first."""
        items = pipeline.rejects(RejectQuery(source, error, state=state), limit, offset, newest=True)
        return [Reject.model_validate(item.to_dict()) for item in items]

    @router.get("/rejects/show", responses={404: {"model": Problem, "description": "it was never rejected"}})
    def show(record: Annotated[Text, Query(description="its coordinate")]) -> list[RejectDetail]:
        """One reject with its sample and history, for each source that read it."""
        documents = details(pipeline.ledger(), [record])
        if not documents:
            raise HTTPException(404, f"{record} was never rejected")
        return [RejectDetail.model_validate(document) for document in documents]

    @router.post("/rejects/replay", status_code=202)
    def replay(which: Replay) -> Asked:
        """Replay open rejects. The request is durable when it is answered; the service plans them within seconds."""
        query = RejectQuery(which.source, which.error, which.since, which.until, tuple(which.records))
        return Asked(asked=pipeline.replay(query))


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error of the application with one sentence and a fitting status."""

    @app.exception_handler(StreamInferError)
    def failed(_request: Request, error: StreamInferError) -> JSONResponse:
        if isinstance(error, ConfigError):
            return problem(400, str(error))
        return problem(503 if isinstance(error, Retryable) else 500, str(error))

    @app.exception_handler(RequestValidationError)
    def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        parameter = " ".join(str(part) for part in first["loc"])
        return problem(422, f"{parameter}: {first['msg']}")

    @app.exception_handler(AnyHTTPException)
    def refused(_request: Request, error: AnyHTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), error.headers)
