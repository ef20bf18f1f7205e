"""The types of a split on its way through the stages, shared by the driver and the workers. All are immutable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import pyarrow as pa

from stream_infer.contracts import NO_ROWS
from stream_infer.splits import Loss, Receipt, Reject, Split

PRIMING: Final = ""  # source name of a split that only warms the actors
Period = tuple[float, float]  # start and end, seconds since the epoch
Stall = tuple[float, float]  # actor-seconds without work: idle, backpressured


@dataclass(frozen=True, slots=True)
class Trail:
    """Timings and attempts of one split, for metrics, traces and the size of later splits.

    Attributes:
        seconds: busy seconds by stage.
        timestamps: start and end of each stage and of parts of one (``sent``, ``fetch``, ``prepare``).
        stalls: actor-seconds by stage that passed before this split; see `worker.actor.StageActor`.
        ready_at: when the split became ready for its next stage, seconds since the epoch.
        deaths: worker processes that died while they worked on the split.
        retries: failed tries of stages that were repeated.
        oldest: event time of the oldest record, from the records themselves, in seconds since the epoch.
        origins: ``traceparent`` of the records' producers, at most `contracts.ORIGINS`.
        more_origins: number of origins beyond these.
    """

    seconds: Mapping[str, float] = field(default_factory=dict)
    timestamps: Mapping[str, Period] = field(default_factory=dict)
    stalls: Mapping[str, Stall] = field(default_factory=dict)
    ready_at: float = 0.0
    deaths: int = 0
    retries: int = 0
    oldest: float | None = None
    origins: tuple[str, ...] = ()
    more_origins: int = 0


@dataclass(frozen=True, slots=True)
class Task:
    """One split with the results of the stages so far.

    Attributes:
        rows: records after ``read``; provenance, kept and model columns after ``infer``.
        deadline: seconds that one try of a stage may take; None: no limit.
        received: records that ``read`` received; None before.
        bytes_in: input content in bytes.
        answers: names of the models' columns, in order.
        inferences / batches: rows that the models answered, and their micro-batches.
        cost / padding: cost of the answered rows in the model's units, and the share of the paid cost that was padding.
        model: ``name@digest`` of the model; of several models, joined by ``+``.
        receipt: receipt of the written file; None before ``write``.
    """

    split: Split
    rows: pa.Table = field(default_factory=lambda: NO_ROWS)
    deadline: float | None = None
    rejects: tuple[Reject, ...] = ()
    losses: tuple[Loss, ...] = ()
    received: int | None = None
    bytes_in: int = 0
    answers: tuple[str, ...] = ()
    inferences: int = 0
    batches: int = 0
    cost: float = 0.0
    padding: float = 0.0
    model: str = ""
    receipt: Receipt | None = None
    trail: Trail = field(default_factory=Trail)

    def draft_receipt(self) -> Receipt:
        """The receipt before the sink has written the file."""
        return Receipt(
            split_id=self.split.split_id,
            source=self.split.source,
            attempt=self.split.attempt,
            bounds=self.split.bounds,
            rows=self.rows.num_rows,
            rejects=self.rejects,
            losses=self.losses,
            received=self.received,
            bytes_in=self.bytes_in,
            seconds=dict(self.trail.seconds),
            inferences=self.inferences,
            batches=self.batches,
            cost=self.cost,
            padding=self.padding,
            model=self.model,
        )


@dataclass(frozen=True, slots=True)
class Done:
    """The stages so far are done: the task goes on to the next stage or, with its receipt, to the committer."""

    task: Task


@dataclass(frozen=True, slots=True)
class Poisoned:
    """The split as a whole cannot be processed: the driver bisects it or rejects its one record."""

    task: Task
    reject: Reject


@dataclass(frozen=True, slots=True)
class Held:
    """The service stops and starts no further stage: the split stays planned, the rows read so far are dropped."""

    task: Task


@dataclass(frozen=True, slots=True)
class Failed:
    """The service must stop until a person acts; ``reason`` is a sentence for that person."""

    task: Task
    reason: str


Outcome = Done | Poisoned | Held | Failed


def with_trail(outcome: Outcome, trail: Trail) -> Outcome:
    """The same outcome with another trail."""
    task = replace(outcome.task, trail=trail)
    return Done(task) if isinstance(outcome, Done) else replace(outcome, task=task)


def priming_split(number: int) -> Split:
    """A split without input. When it leaves the execution, every pool has a warm actor."""
    return Split.of(PRIMING, {"prime": number}, folder="", records=0, bytes=0)
