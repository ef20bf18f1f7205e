"""The types of the attempt tracker: the start of a stage and the deaths of workers; and the deaths that a split may cause."""

from __future__ import annotations

from typing import NamedTuple

from stream_infer.splits import Split

HALVINGS = 4  # of one bisection, so into 16 pieces: each bisection costs a dead worker, and so there are few of them


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
        starved: those that Ray ended because their node ran out of memory. Ray may choose any worker of the node.
        stage: stage in which the last one died.
        hung: deadline in seconds that the last one exceeded, 0 if the watchdog did not end it.
        closed: whether the service stops, so that the stage must not start.
    """

    total: int
    starved: int
    stage: str
    hung: float
    closed: bool = False

    def charged(self, alone: bool) -> int:
        """Number of deaths that count against the split.

        All of them count for a split of many records: its bisection loses nothing, and smaller pieces need less memory. A
        single record would be rejected, although another task on its node may have used up the memory. So for it four
        starved workers count as one death.
        """
        return self.total - self.starved + self.starved // 4 if alone else self.total


def deaths_allowed(split: Split, attempts: int) -> int:
    """Number of deaths after which the split is bisected or, as a single record, rejected.

    A single record gets every attempt. A piece of a split that killed its workers is bisected after one death. A split that
    was never bisected gets several attempts, because most deaths have other causes than a record, but few enough that the
    search for one record of n costs at most ``⌈log2 n⌉ + attempts`` deaths.
    """
    if split.records <= 1 or split.replay:
        return attempts
    if split.depth:
        return 1
    halvings = (split.records - 1).bit_length()
    bisections = -(-halvings // HALVINGS)
    return min(attempts, halvings - bisections + 1)
