"""The snapshot, which the page, the API, `top` and the doctor all show. Types only; `assembly` fills them.

Times are seconds since the epoch, durations seconds, shares 0 … 1. None means unknown.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Severity = Literal["bad", "warn", "info", "well"]


class Model(BaseModel):
    """Base of every part: values never change."""

    model_config = ConfigDict(frozen=True)


class Stage(Model):
    """One stage over the last minute."""

    name: str
    actors: int = Field(default=0, description="actors that run it; in a fused pool, all actors of the pool")
    max_actors: int = Field(default=0, description="most actors its pool may have")
    busy: float | None = Field(default=None, description="share of actor time at work")
    backpressured: float | None = Field(
        default=None, description="share of actor time without work although a split was ready"
    )
    idle: float | None = Field(default=None, description="share of actor time with nothing to do")
    split_seconds: float | None = Field(default=None, description="mean time of a split")
    stalled: int = Field(default=0, description="splits that wait in this stage for a dependency")
    stall_reason: str | None = Field(default=None, description="why one of them waits")
    failed: int = Field(default=0, description="tries that a dependency made fail; each is repeated")
    failed_share: float | None = Field(default=None, description="share of failed tries of all its tries")
    failed_dependency: str | None = Field(default=None, description="dependency that failed most: store, kafka, …")


class Source(Model):
    """One source."""

    name: str
    kind: str = ""
    location: str = Field(default="", description="its URL or topics, without credentials")
    rows: int = 0
    rejected: int = 0
    lost: int = 0
    in_flight: int = Field(default=0, description="records planned and not final")
    lag: int = Field(default=0, description="records that wait and are not planned yet")
    lag_seconds: float | None = Field(
        None, description="age of the oldest record that is not final; 0 where none waits"
    )
    waiting_bytes: int = 0
    waiting_objects: int = 0
    unsettled: int = Field(default=0, description="inputs that are not complete yet")
    records_per_second: float = 0.0
    eta_seconds: float | None = Field(
        default=None, description="until everything that waits is final; null if there is no progress"
    )
    last_commit: float | None = None
    trouble: str | None = Field(default=None, description="what it waits for now")
    failure: str | None = Field(default=None, description="why it stopped for good")


class Split(Model):
    """A split planned recently."""

    split_id: str
    source: str
    state: str
    what: str = Field(description="its offsets or objects in words")
    records: int
    rows: int = 0
    rejected: int = 0
    lost: int = 0
    attempts: int = 0
    planned_at: float
    committed_at: float | None = None
    file: str | None = None
    seconds: dict[str, float] = Field(default_factory=dict, description="time by stage")


class Reject(Model):
    """A record that could not be processed."""

    record_id: str
    source: str
    stage: str
    error: str
    reason: str
    attempts: int
    rejected_at: float
    state: str = Field(default="open", description="open, replaying (planned again) or resolved (its row is committed)")
    replays: int = Field(default=0, description="how often it was replayed")
    resolved_at: float | None = None


class RejectKind(Model):
    """Rejects of the last minute by error class."""

    source: str
    stage: str
    error_type: str
    records: int


class DeathKind(Model):
    """Workers that ended while working within the last minute."""

    stage: str
    cause: str = Field(description="died, hung or memory")
    workers: int


class Records(Model):
    """Records by how they ended: ``planned = committed + rejected + lost + in_flight``, from the ledger."""

    planned: int = 0
    committed: int = 0
    rejected: int = 0
    lost: int = 0
    in_flight: int = 0
    unaccounted: int = Field(
        default=0, description="read, and neither row, reject nor loss at commit; 0 unless there is a defect"
    )


class Recent(Model):
    """The last minute."""

    seconds: float = Field(default=0.0, description="length of the window")
    records_per_second: float = 0.0
    bytes_per_second: float = 0.0
    committed: int = 0
    rejected: int = 0
    lost: int = 0
    retries: int = Field(default=0, description="splits tried again")
    commits: int = 0
    commit_seconds: float | None = Field(default=None, description="mean time of a ledger transaction")
    end_to_end_seconds: float | None = Field(
        default=None, description="mean time from a split's oldest event to its file"
    )
    dependency_errors: int = 0
    rejects: list[RejectKind] = Field(default_factory=list)
    deaths: list[DeathKind] = Field(default_factory=list)
    history: list[float] = Field(default_factory=list, description="records/s, oldest first, one per second")


class Gpu(Model):
    """One GPU."""

    name: str
    utilization: float | None = None
    memory_used: int = 0
    memory_total: int = 0


class Finding(Model):
    """One finding of the doctor."""

    rule: str
    severity: Severity
    sentence: str
    advice: str = ""


class Snapshot(Model):
    """The service at one moment."""

    pipeline: str
    state: str = Field(default="starting", description="state of the pipeline; or `not running`, or `silent`")
    ready: bool = False
    since: float | None = Field(default=None, description="when this state began")
    at: float
    started_at: float | None = None
    version: str = ""
    model: str = ""
    sink: str = ""
    execution: int | None = None
    epoch: int = 0
    owner: str | None = None
    acquired_at: float | None = None
    trouble: str | None = None
    ledger_trouble: str | None = Field(default=None, description="why the ledger's counts are old")
    stalled: list[str] = Field(
        default_factory=list, description="what splits in flight wait for, each as `stage: reason`"
    )
    circuit_breaker: bool = False
    fused: bool = Field(default=False, description="read, infer and write run in one pool of actors")
    bottleneck: str | None = Field(default=None, description="the stage that the others wait for")
    waiting_splits: int = 0
    in_flight_splits: int = 0
    in_flight_bytes: int = 0
    in_flight_limit: int = 0
    freshness: float | None = Field(
        default=None, description="age of the oldest record that is not final; 0 where none waits"
    )
    eta_seconds: float | None = None
    records: Records = Records()
    recent: Recent = Recent()
    stages: list[Stage] = Field(default_factory=list)
    sources: list[Source] = Field(default_factory=list)
    gpus: list[Gpu] = Field(default_factory=list)
    splits: list[Split] = Field(default_factory=list)
    rejects: list[Reject] = Field(default_factory=list)
    findings: list[Finding] = Field(default_factory=list, description="the doctor's, worst first; never empty")

    @property
    def backlog(self) -> int:
        """Records that wait or are in flight."""
        return sum(source.lag + source.in_flight for source in self.sources)

    def stage(self, name: str) -> Stage | None:
        """The stage of that name, if it runs."""
        return next((stage for stage in self.stages if stage.name == name), None)
