"""The words of the attempt tracker: the start of a stage, the deaths of workers, and how many deaths a split may cause."""

from __future__ import annotations

from typing import NamedTuple

from stream_infer.splits import Split

HALVINGS = 4  # of one bisection: every bisection costs a dead worker, so few bisections are better than small ones


class StageStart(NamedTuple):
    """The start of a stage on a split, as the worker reports it before the work.

    Attributes:
        stage: name of the stage.
        order: position of the stage in the pipeline, from 0.
        deadline: seconds that one try may take; None: no limit.
        worker: Ray's id of the worker process.
        up: seconds since that process was set up.
    """

    stage: str
    order: int
    deadline: float | None = None
    worker: str = ""
    up: float = 0.0


class Deaths(NamedTuple):
    """Worker processes that died while they worked on one split.

    Attributes:
        total: all of them.
        starved: those that Ray ended because their node ran out of memory; which of a node's workers Ray ends is chance.
        stage: stage in which the last one died.
        hung: deadline in seconds that the last one exceeded, 0 if the watchdog did not end it.
        closed: the stage must not start, because the service stops.
    """

    total: int
    starved: int
    stage: str
    hung: float
    closed: bool = False

    def charged(self, alone: bool) -> int:
        """Number of deaths that count against the split.

        All of them count for a split of many records: bisecting it loses nothing, and smaller pieces need less memory. A
        record alone would be rejected, perhaps for its neighbour's greed: four deaths of starvation count as one.
        """
        return self.total - self.starved + self.starved // 4 if alone else self.total


def deaths_allowed(split: Split, attempts: int) -> int:
    """Number of deaths after which the split is bisected or, as a single record, rejected.

    A single record gets every attempt. A piece of a killing split is suspect: one death bisects it further. A split that was
    never bisected gets the attempts too, because most deaths are no record's fault, but never so many that isolating a
    record of n would cost more than ``⌈log2 n⌉ + attempts`` deaths.
    """
    if split.records <= 1 or split.replay:
        return attempts
    if split.depth:
        return 1
    halvings = (split.records - 1).bit_length()
    bisections = -(-halvings // HALVINGS)
    return min(attempts, halvings - bisections + 1)
