"""Symptoms in a snapshot: each function yields the facts of every symptom of its kind.

Pure functions from a snapshot to facts in words. `doctor.RULES` has the sentences that are filled with the facts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from stream_infer.ops.watch import formatting
from stream_infer.ops.watch.snapshot import Snapshot, Source, Stage

BUSY = 0.8  # a stage this busy is at its limit
BLOCKED = 0.3  # a stage blocked this much waits for the next stage
SLOW_COMMIT = 1.0  # seconds of a ledger transaction
SOME_REJECTS, MANY_REJECTS = 0.01, 0.2  # of the records of the last minute
FAILED_TRIES, FAILED_SHARE = 5, 0.1  # tries of a stage in the last minute that failed
QUIET = 60.0  # seconds without new work after which a source is called quiet
SLOW_START = 180.0  # seconds of starting after which an operator should look
STUCK = 120.0  # seconds without a commit while there is work
BEHIND = 60.0  # seconds of backlog and of age; below it a busy stage is no finding
GPU_IDLE = 0.4

_BEGINNING = ("starting", "warming")

Facts = dict[str, str]
Detector = Callable[[Snapshot], Iterator[Facts]]


def in_state(*states: str) -> Detector:
    def detect(s: Snapshot) -> Iterator[Facts]:
        if s.state in states:
            yield {
                "state": s.state,
                "why": _reason(s.trouble or "the reason is unknown"),
                "owner": s.owner or "nobody",
                "past": f"the ledger was last acquired at {formatting.clock(s.acquired_at, s.at)}"
                if s.acquired_at
                else "its ledger was never acquired",
            }

    return detect


def _seconds_in_state(s: Snapshot) -> float:
    return s.at - s.since if s.since else 0.0


def starting(s: Snapshot) -> Iterator[Facts]:
    if s.state in _BEGINNING and _seconds_in_state(s) < SLOW_START:
        yield {"state": s.state}


def slow_start(s: Snapshot) -> Iterator[Facts]:
    if s.state in _BEGINNING and _seconds_in_state(s) >= SLOW_START:
        yield {"state": s.state, "age": formatting.seconds(_seconds_in_state(s))}


def worker_deaths(s: Snapshot) -> Iterator[Facts]:
    if s.recent.deaths:
        worst = max(s.recent.deaths, key=lambda kind: kind.workers)
        count = sum(kind.workers for kind in s.recent.deaths)
        yield {"workers": formatting.count(count, "worker"), "stage": worst.stage, "cause": _CAUSES[worst.cause]}


def stopped(s: Snapshot) -> Iterator[Facts]:
    if s.state == "stopped" and not s.circuit_breaker:  # the breaker has its own rule: a restart alone does not help
        yield {}


def circuit_breaker(s: Snapshot) -> Iterator[Facts]:
    if s.circuit_breaker:
        yield {"why": _reason(s.trouble or "every record fails")}


def source_stopped(s: Snapshot) -> Iterator[Facts]:
    for source in s.sources:
        if source.failure:
            yield {"source": source.name, "why": _reason(source.failure)}


def unaccounted(s: Snapshot) -> Iterator[Facts]:
    if s.records.unaccounted > 0:
        yield {"records": formatting.count(s.records.unaccounted, "record")}


def ledger_unavailable(s: Snapshot) -> Iterator[Facts]:
    trouble = s.ledger_trouble or (s.trouble if s.trouble and "ledger" in s.trouble and _runs(s) else None)
    if trouble:
        yield {"why": _reason(trouble)}


def stage_stalled(s: Snapshot) -> Iterator[Facts]:
    for stage in s.stages:
        if stage.stalled:
            why = _reason(stage.stall_reason or "the reason is unknown")
            yield {
                "stage": stage.name,
                "outside": outside(why),
                "why": why,
            }


def stage_fails(s: Snapshot) -> Iterator[Facts]:
    """Stages whose splits succeed, but often not at the first try."""
    for stage in s.stages:
        share = stage.failed_share or 0.0
        if not stage.stalled and stage.failed >= FAILED_TRIES and share >= FAILED_SHARE:
            yield {"stage": stage.name, "outside": _failing(s, stage), "share": formatting.percent(share)}


def commits_stalled(s: Snapshot) -> Iterator[Facts]:
    if s.trouble and _runs(s) and "ledger" not in s.trouble and not s.circuit_breaker:
        yield {"why": _reason(s.trouble), "outside": outside(s.trouble)}


def source_stalled(s: Snapshot) -> Iterator[Facts]:
    for source in s.sources:
        if source.trouble and not source.failure:
            why = _reason(source.trouble)
            yield {"source": source.name, "why": why, "outside": outside(why)}


def stuck(s: Snapshot) -> Iterator[Facts]:
    explained = any(stage.stalled for stage in s.stages) or s.trouble or s.ledger_trouble or s.circuit_breaker
    last = max((source.last_commit or 0.0 for source in s.sources), default=0.0)
    since = max(last, s.started_at or 0.0)
    if s.state == "ready" and s.in_flight_splits and not explained and since and s.at - since > STUCK:
        yield {
            "age": formatting.seconds(s.at - since),
            "splits": formatting.count(s.in_flight_splits, "split"),
            "stage": s.bottleneck or "one of the stages",
        }


def rejects(least: float, below: float) -> Detector:
    def detect(s: Snapshot) -> Iterator[Facts]:
        total = s.recent.committed + s.recent.rejected + s.recent.lost
        share = s.recent.rejected / total if total else 0.0
        if s.recent.rejected and least <= share < below:
            worst = max(s.recent.rejects, key=lambda kind: kind.records, default=None)
            what = f": mostly {worst.stage}/{worst.error_type} of {worst.source}" if worst else ""
            yield {
                "share": formatting.percent(share),
                "records": formatting.count(s.recent.rejected, "record"),
                "what": what,
            }

    return detect


def losses(s: Snapshot) -> Iterator[Facts]:
    if s.recent.lost:
        names = ", ".join(source.name for source in s.sources if source.lost)
        yield {"records": formatting.count(s.recent.lost, "record"), "sources": names or "a source"}


def slow_ledger(s: Snapshot) -> Iterator[Facts]:
    if (s.recent.commit_seconds or 0.0) >= SLOW_COMMIT:
        yield {"time": formatting.seconds(s.recent.commit_seconds)}


def _behind(s: Snapshot) -> str:
    """The backlog in words; empty if it is too small to report."""
    late = s.eta_seconds is None or s.eta_seconds >= BEHIND or (s.freshness or 0.0) >= BEHIND
    if not s.backlog or not late:
        return ""
    to_go = "" if s.eta_seconds is None else f" ({formatting.seconds(s.eta_seconds)} to go)"
    return f", {formatting.count(s.backlog, 'record')} wait{to_go}"


def _blocked(s: Snapshot, stage: Stage) -> str:
    """The earlier stages that are blocked by this one; a later stage may be blocked for other reasons."""
    before = s.stages[: s.stages.index(stage)]
    blocked = [other.name for other in before if (other.backpressured or 0.0) >= BLOCKED]
    return f", {' and '.join(blocked)} {'is' if len(blocked) == 1 else 'are'} blocked" if blocked else ""


def busy(name: str) -> Detector:
    def detect(s: Snapshot) -> Iterator[Facts]:
        stage = s.stage(name)
        behind = _behind(s)
        if s.fused or stage is None or s.bottleneck != name or (stage.busy or 0.0) < BUSY or not behind:
            return
        if name == "read" and any(gpu.utilization is not None and gpu.utilization < GPU_IDLE for gpu in s.gpus):
            return  # the rule about the GPU reports it
        more = stage.max_actors > stage.actors > 0
        yield {
            "busy": formatting.percent(stage.busy),
            "blocked": _blocked(s, stage),
            "behind": behind,
            "actors": formatting.count(stage.actors, "actor"),
            "more": f"; the pool may grow to {stage.max_actors} actors: if it stays at {stage.actors}, the cluster has no free resources"
            if more
            else "",
        }

    return detect


def pool_is_busy(s: Snapshot) -> Iterator[Facts]:
    """A pool that runs all stages: its load is the sum of theirs."""
    load = sum(stage.busy or 0.0 for stage in s.stages)
    behind = _behind(s)
    if s.fused and s.bottleneck and load >= BUSY and behind:
        yield {"busy": formatting.percent(load), "stage": s.bottleneck, "behind": behind}


def gpu_starves(s: Snapshot) -> Iterator[Facts]:
    used = [gpu.utilization for gpu in s.gpus if gpu.utilization is not None]
    read = s.stage("read")
    if used and read and s.bottleneck == "read" and s.backlog and sum(used) / len(used) < GPU_IDLE:
        yield {"gpu": formatting.percent(sum(used) / len(used)), "busy": formatting.percent(read.busy)}


def quiet(kind: str) -> Detector:
    def detect(s: Snapshot) -> Iterator[Facts]:
        for source in s.sources:
            if source.kind == kind and _went_quiet(s, source):
                yield {"source": source.name, "since": formatting.clock(source.last_commit, s.at)}

    return detect


def _went_quiet(s: Snapshot, source: Source) -> bool:
    idle = not source.lag and not source.in_flight and not source.unsettled
    reported = source.trouble or source.failure
    return bool(idle and not reported and _runs(s) and source.last_commit and s.at - source.last_commit > QUIET)


def _runs(s: Snapshot) -> bool:
    return s.state in ("ready", "resting", "draining")


def _reason(text: str) -> str:
    return formatting.clipped(text).rstrip(". ")


def _failing(s: Snapshot, stage: Stage) -> str:
    """The dependency of a stage's failed tries, by the metric's label and by where the stage reads or writes."""
    if stage.failed_dependency == "store":
        urls = [s.sink] if stage.name == "write" else [item.location for item in s.sources if item.kind == "files"]
        return "S3" if urls and all(url.startswith("s3://") for url in urls) else "the store"
    return outside(_LABELS.get(stage.failed_dependency or "", ""))


def outside(why: str) -> str:
    """The dependency that an error sentence is about: S3, Kafka, …"""
    for pattern, name in _DEPENDENCY_PATTERNS:
        if re.search(pattern, why):
            return name
    return "a dependency"


_CAUSES = {"died": "crashed", "hung": "hung and was killed", "memory": "was killed because its node ran out of memory"}
_LABELS = {"kafka": "kafka", "ledger": "ledger", "queue": "queue", "hub": "model hub"}
_DEPENDENCY_PATTERNS = (
    (r"(?i)\bs3://", "S3"),
    (r"(?i)\b(gs|az|abfs|https?)://", "the store"),
    (r"(?i)\bfile://", "the disk"),
    (r"(?i)kafka|\btopic\b|broker", "Kafka"),
    (r"(?i)model hub", "the model hub"),
    (r"(?i)ledger|database", "the ledger"),
    (r"(?i)\bqueue\b", "the event queue"),
)
