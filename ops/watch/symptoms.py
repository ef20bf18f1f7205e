"""What the doctor can see in a snapshot: each function gives the facts of every thing of its kind that it finds.

Pure: a snapshot in, facts in words out. Which sentence is made of them stands in `doctor.RULES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from stream_infer.ops.watch import formatting
from stream_infer.ops.watch.snapshot import Snapshot, Source, Stage

BUSY = 0.8  # a stage this busy has no time left
BLOCKED = 0.3  # a stage held back this much waits for the one behind it
SLOW_COMMIT = 1.0  # seconds of a ledger transaction
SOME_REJECTS, MANY_REJECTS = 0.01, 0.2  # of the records of the last minute
FAILED_TRIES, FAILED_SHARE = 5, 0.1  # tries of a stage in the last minute that failed
QUIET = 60.0  # seconds without new work after which a source is called quiet
SLOW_START = 180.0  # seconds of warming up after which somebody should look
STUCK = 120.0  # seconds without a commit while work is there
BEHIND = 60.0  # seconds to catch up, and of age, below which a busy stage is no news
GPU_IDLE = 0.4

_BEGINNING = ("starting", "warming")

Facts = dict[str, str]
Sees = Callable[[Snapshot], Iterator[Facts]]


def in_state(*states: str) -> Sees:
    def sees(s: Snapshot) -> Iterator[Facts]:
        if s.state in states:
            yield {
                "state": s.state,
                "why": _reason(s.trouble or "no reason is known"),
                "owner": s.owner or "nobody",
                "past": f"the ledger was last taken at {formatting.clock(s.acquired_at, s.at)}"
                if s.acquired_at
                else "its ledger was never taken",
            }

    return sees


def _waited(s: Snapshot) -> float:
    return s.at - s.since if s.since else 0.0


def starts(s: Snapshot) -> Iterator[Facts]:
    if s.state in _BEGINNING and _waited(s) < SLOW_START:
        yield {"state": s.state}


def starts_slowly(s: Snapshot) -> Iterator[Facts]:
    if s.state in _BEGINNING and _waited(s) >= SLOW_START:
        yield {"state": s.state, "age": formatting.seconds(_waited(s))}


def deaths(s: Snapshot) -> Iterator[Facts]:
    if s.recent.deaths:
        worst = max(s.recent.deaths, key=lambda kind: kind.workers)
        count = sum(kind.workers for kind in s.recent.deaths)
        yield {"workers": formatting.count(count, "worker"), "stage": worst.stage, "fate": _FATES[worst.cause]}


def stopped(s: Snapshot) -> Iterator[Facts]:
    if s.state == "stopped" and not s.circuit_breaker:  # which has its own rule, and starting again alone does not help
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


def ledger_away(s: Snapshot) -> Iterator[Facts]:
    trouble = s.ledger_trouble or (s.trouble if s.trouble and "ledger" in s.trouble and _runs(s) else None)
    if trouble:
        yield {"why": _reason(trouble)}


def stage_waits(s: Snapshot) -> Iterator[Facts]:
    for stage in s.stages:
        if stage.waits:
            why = _reason(stage.waits_for or "no reason is known")
            yield {
                "stage": stage.name,
                "outside": outside(why),
                "why": why,
            }


def stage_fails(s: Snapshot) -> Iterator[Facts]:
    """It gets through, but not at the first try."""
    for stage in s.stages:
        share = stage.failed_share or 0.0
        if not stage.waits and stage.failed >= FAILED_TRIES and share >= FAILED_SHARE:
            yield {"stage": stage.name, "outside": _failing(s, stage), "share": formatting.percent(share)}


def commit_waits(s: Snapshot) -> Iterator[Facts]:
    if s.trouble and _runs(s) and "ledger" not in s.trouble and not s.circuit_breaker:
        yield {"why": _reason(s.trouble), "outside": outside(s.trouble)}


def source_waits(s: Snapshot) -> Iterator[Facts]:
    for source in s.sources:
        if source.trouble and not source.failure:
            why = _reason(source.trouble)
            yield {"source": source.name, "why": why, "outside": outside(why)}


def stuck(s: Snapshot) -> Iterator[Facts]:
    explained = any(stage.waits for stage in s.stages) or s.trouble or s.ledger_trouble or s.circuit_breaker
    last = max((source.last_commit or 0.0 for source in s.sources), default=0.0)
    since = max(last, s.started_at or 0.0)
    if s.state == "ready" and s.in_flight_splits and not explained and since and s.at - since > STUCK:
        yield {
            "age": formatting.seconds(s.at - since),
            "splits": formatting.count(s.in_flight_splits, "split"),
            "stage": s.bottleneck or "one of the stages",
        }


def rejects(least: float, below: float) -> Sees:
    def sees(s: Snapshot) -> Iterator[Facts]:
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

    return sees


def losses(s: Snapshot) -> Iterator[Facts]:
    if s.recent.lost:
        names = ", ".join(source.name for source in s.sources if source.lost)
        yield {"records": formatting.count(s.recent.lost, "record"), "sources": names or "a source"}


def slow_ledger(s: Snapshot) -> Iterator[Facts]:
    if (s.recent.commit_seconds or 0.0) >= SLOW_COMMIT:
        yield {"time": formatting.seconds(s.recent.commit_seconds)}


def _behind(s: Snapshot) -> str:
    """How far behind the pipeline is, in words; empty where a busy stage is no news."""
    late = s.eta_seconds is None or s.eta_seconds >= BEHIND or (s.freshness or 0.0) >= BEHIND
    if not s.backlog or not late:
        return ""
    to_go = "" if s.eta_seconds is None else f" ({formatting.seconds(s.eta_seconds)} to go)"
    return f", {formatting.count(s.backlog, 'record')} wait{to_go}"


def _blocked(s: Snapshot, stage: Stage) -> str:
    """The stages before it that wait for it; one behind it may be late for other reasons."""
    before = s.stages[: s.stages.index(stage)]
    held = [other.name for other in before if (other.backpressured or 0.0) >= BLOCKED]
    return f", {' and '.join(held)} {'is' if len(held) == 1 else 'are'} blocked" if held else ""


def busy(name: str) -> Sees:
    def sees(s: Snapshot) -> Iterator[Facts]:
        stage = s.stage(name)
        behind = _behind(s)
        if s.fused or stage is None or s.bottleneck != name or (stage.busy or 0.0) < BUSY or not behind:
            return
        if name == "read" and any(gpu.utilization is not None and gpu.utilization < GPU_IDLE for gpu in s.gpus):
            return  # told by its own rule
        more = stage.max_actors > stage.actors > 0
        yield {
            "busy": formatting.percent(stage.busy),
            "blocked": _blocked(s, stage),
            "behind": behind,
            "actors": formatting.count(stage.actors, "actor"),
            "more": f"; the pool may grow to {stage.max_actors}: if it stays at {stage.actors}, the cluster has no room"
            if more
            else "",
        }

    return sees


def pool_is_full(s: Snapshot) -> Iterator[Facts]:
    """One pool runs all three steps: its load is their sum."""
    load = sum(stage.busy or 0.0 for stage in s.stages)
    behind = _behind(s)
    if s.fused and s.bottleneck and load >= BUSY and behind:
        yield {"busy": formatting.percent(load), "stage": s.bottleneck, "behind": behind}


def gpu_starves(s: Snapshot) -> Iterator[Facts]:
    used = [gpu.utilization for gpu in s.gpus if gpu.utilization is not None]
    read = s.stage("read")
    if used and read and s.bottleneck == "read" and s.backlog and sum(used) / len(used) < GPU_IDLE:
        yield {"gpu": formatting.percent(sum(used) / len(used)), "busy": formatting.percent(read.busy)}


def quiet(kind: str) -> Sees:
    def sees(s: Snapshot) -> Iterator[Facts]:
        for source in s.sources:
            if source.kind == kind and _went_quiet(s, source):
                yield {"source": source.name, "since": formatting.clock(source.last_commit, s.at)}

    return sees


def _went_quiet(s: Snapshot, source: Source) -> bool:
    idle = not source.lag and not source.in_flight and not source.unsettled
    told = source.trouble or source.failure
    return bool(idle and not told and _runs(s) and source.last_commit and s.at - source.last_commit > QUIET)


def _runs(s: Snapshot) -> bool:
    return s.state in ("ready", "resting", "draining")


def _reason(text: str) -> str:
    return formatting.clipped(text).rstrip(". ")


def _failing(s: Snapshot, stage: Stage) -> str:
    """What a stage's failed tries were about, by the metric's label and where the stage reads or writes."""
    if stage.failed_for == "store":
        places = [s.sink] if stage.name == "write" else [item.place for item in s.sources if item.kind == "files"]
        return "S3" if places and all(place.startswith("s3://") for place in places) else "the store"
    return outside(_DEPENDENCIES.get(stage.failed_for or "", ""))


def outside(why: str) -> str:
    """What the words of a dependency failure are about: S3, Kafka, …"""
    for pattern, name in _OUTSIDE:
        if re.search(pattern, why):
            return name
    return "something outside"


_FATES = {"died": "crashed", "hung": "hung and was ended", "memory": "was ended because its node had no memory left"}
_DEPENDENCIES = {"kafka": "kafka", "ledger": "ledger", "queue": "queue", "hub": "model hub"}
_OUTSIDE = (
    (r"(?i)\bs3://", "S3"),
    (r"(?i)\b(gs|az|abfs|https?)://", "the store"),
    (r"(?i)\bfile://", "the disk"),
    (r"(?i)kafka|\btopic\b|broker", "Kafka"),
    (r"(?i)model hub", "the model hub"),
    (r"(?i)ledger|database", "the ledger"),
    (r"(?i)\bqueue\b", "the event queue"),
)
