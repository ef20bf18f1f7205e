"""The API, ``/api/v1``: what the page shows, for machines. Errors are ``{"error": "one sentence"}``."""

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
from stream_infer.rejects import RejectFilter, State

_bearer = HTTPBearer(auto_error=False, description="the setting serve.token, where one is set")


# what every database stores and compares: no NUL
Text = Annotated[str, StringConstraints(min_length=1, max_length=4000, pattern=r"^[^\x00]*$")]


class Problem(BaseModel):
    """What went wrong, in one sentence."""

    error: str


class Fate(BaseModel):
    """What became of a record or an object, by the split that holds it."""

    record: str
    state: str = Field(description="in_flight, committed, rejected, lost or bisected")
    split_id: str
    source: str
    file: str | None = Field(description="output file relative to the sink, where its row stands")
    attempts: int
    reason: str | None = Field(default=None, description="why it was rejected or lost")


class Rejection(BaseModel):
    """One time that a record was rejected."""

    stage: str
    error: str
    reason: str
    attempts: int
    rejected_at: float
    replay: int = Field(description="the replay that ended so; 0 for the first time")
    split_id: str


class RejectDetail(Reject):
    """A reject with all that is known of it."""

    split_id: str
    replay_split: str | None = None
    sample: dict[str, str] | None = Field(default=None, description="the beginning of its payload, where one is kept")
    history: list[Rejection] = Field(description="every time it was rejected, oldest first")


class Replay(BaseModel):
    """Which open rejects are meant; every condition that is given must hold. None given: all of them."""

    model_config = ConfigDict(extra="forbid")

    records: list[Text] = Field(default_factory=list, max_length=10_000)
    source: Text | None = None
    error: Text | None = None
    since: float | None = Field(default=None, allow_inf_nan=False, description="rejected at or after, epoch seconds")
    until: float | None = Field(default=None, allow_inf_nan=False, description="rejected before, epoch seconds")


class Asked(BaseModel):
    """How many rejects will be planned anew."""

    asked: int


class Verdict(BaseModel):
    """The doctor's answer: the worst finding first."""

    severity: Severity
    verdict: str
    advice: str
    findings: list[Finding]


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": says}
    for status, says in (
        (400, "the request means nothing here"),
        (401, "a token is needed"),
        (403, "made by another site"),
        (421, "this host name is not known here"),
        (422, "a parameter is wrong"),
        (503, "the ledger does not answer"),
    )
}
Name = Annotated[Text, Query(description="record id, object URL, key, topic/0/17 or offset")]
Limit = Annotated[int, Query(ge=1, le=500, description="most to list")]


def build_router(pipeline: Pipeline, watcher: Watcher) -> APIRouter:
    """The routes. Their bodies only ask; what they answer is made elsewhere."""
    router = APIRouter(prefix="/api/v1", responses=_PROBLEMS, dependencies=[Security(_bearer)])

    @router.get("/status")
    def status() -> Snapshot:
        """Everything the status page shows, as of now."""
        return watcher.now()

    @router.get("/doctor")
    def doctor() -> Verdict:
        """Is it well, and if not, why and what to do."""
        findings = watcher.now().findings
        worst = findings[0]
        return Verdict(severity=worst.severity, verdict=worst.sentence, advice=worst.advice, findings=findings)

    @router.get("/events", response_class=EventSourceResponse)
    async def events() -> AsyncIterator[ServerSentEvent]:
        """The status, every second, as server-sent events named `snapshot`."""
        async for published in watcher.listen():
            yield ServerSentEvent(event="snapshot", id=str(published.number), raw_data=published.json)

    @router.get("/where", responses={404: {"model": Problem, "description": "it was never planned"}})
    def where(name: Name) -> list[Fate]:
        """What became of a record or an object."""
        found = [
            Fate.model_validate(item, from_attributes=True)
            for item in search(pipeline.settings, pipeline.ledger(), name)
        ]
        if not found:
            raise HTTPException(404, absent(pipeline.settings, pipeline.ledger(), name))
        return found

    @router.get("/splits")
    def splits(limit: Limit = 50) -> list[Split]:
        """The splits planned last, newest first."""
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
        offset: Annotated[int, Query(ge=0, le=10**9, description="so many of the newest are left out")] = 0,
    ) -> list[Reject]:
        """Records that could not be processed, newest first."""
        found = pipeline.rejects(RejectFilter(source, error, state=state), limit, offset, newest=True)
        return [Reject.model_validate(item.to_dict()) for item in found]

    @router.get("/rejects/show", responses={404: {"model": Problem, "description": "it was never rejected"}})
    def show(record: Annotated[Text, Query(description="its coordinate")]) -> list[RejectDetail]:
        """All that is known of one reject, by each source that read it."""
        documents = details(pipeline.ledger(), [record])
        if not documents:
            raise HTTPException(404, f"{record} was never rejected")
        return [RejectDetail.model_validate(document) for document in documents]

    @router.post("/rejects/replay", status_code=202)
    def replay(which: Replay) -> Asked:
        """Plan open rejects anew. Durable when it returns; the service takes them up within seconds."""
        chosen = RejectFilter(which.source, which.error, which.since, which.until, tuple(which.records))
        return Asked(asked=pipeline.replay(chosen))


def speak_plainly(app: FastAPI) -> None:
    """Every error of the application becomes one sentence with a fitting status."""

    @app.exception_handler(StreamInferError)
    def known(_request: Request, error: StreamInferError) -> JSONResponse:
        if isinstance(error, ConfigError):
            return problem(400, str(error))
        return problem(503 if isinstance(error, Retryable) else 500, str(error))

    @app.exception_handler(RequestValidationError)
    def wrong(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = " ".join(str(part) for part in first["loc"])
        return problem(422, f"{place}: {first['msg']}")

    @app.exception_handler(AnyHTTPException)
    def refused(_request: Request, error: AnyHTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), error.headers)
