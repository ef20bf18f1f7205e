"""The committer: outcomes of the execution become ledger transactions."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from stream_infer import crash, retry
from stream_infer.bounds import parse, record_ids
from stream_infer.contracts import Sink, Source, location_of
from stream_infer.driver import losses
from stream_infer.driver.admission import Backlog
from stream_infer.driver.bisection import pieces
from stream_infer.driver.circuit_breaker import CircuitBreaker
from stream_infer.driver.drain import await_end
from stream_infer.driver.sizing import SplitSizer
from stream_infer.driver.traces import attributes_of, trace_of
from stream_infer.errors import Fatal, Retryable
from stream_infer.ledger import Ledger
from stream_infer.splits import Receipt, Reject, Split
from stream_infer.tasks import Failed, Outcome, Poisoned, Task
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry import record_metrics
from stream_infer.telemetry.metrics import Metrics
from stream_infer.telemetry.tracing import Tracer

log = logging.getLogger(__name__)
T = TypeVar("T")
_GROUP = 256  # receipts of one transaction


class Committer(threading.Thread):
    """The thread that takes outcomes from its queue, several at a time, and settles their splits.

    Attributes:
        outcomes: the queue on which executions put their outcomes.
        failure: why the service must stop; None while it need not.
        trouble: the dependency failure that is waited out now; None if there is none.
        actor_time: actor-seconds of the stages.

    Args:
        on_settled: called with each split that is final.
        source_attributes: returns the trace attributes of all splits of a source.
    """

    def __init__(
        self,
        ledger: Ledger,
        sink: Sink,
        sources: Mapping[str, Source],
        backlog: Backlog,
        sizers: Mapping[str, SplitSizer],
        metrics: Metrics,
        circuit_breaker: CircuitBreaker,
        tracer: Tracer | None = None,
        *,
        actor_time: record_metrics.ActorTime | None = None,
        on_settled: Callable[[Split], None] = lambda _: None,
        source_attributes: Callable[[str], Mapping[str, str | int]] = lambda _: {},
    ) -> None:
        super().__init__(name="committer", daemon=True)
        self.outcomes: queue.Queue[Outcome] = queue.Queue()
        self.failure: Fatal | None = None
        self.trouble: str | None = None
        self._ledger = ledger
        self._sink = sink
        self._sources = sources
        self._backlog = backlog
        self._sizers = sizers
        self._metrics = metrics
        self._circuit_breaker = circuit_breaker
        self._tracer = tracer
        self._ending = threading.Event()
        self._given_up = threading.Event()
        self.actor_time = actor_time or record_metrics.ActorTime(metrics)
        self._on_settled = on_settled
        self._source_attributes = source_attributes

    def run(self) -> None:
        while not (self._ending.is_set() and self.outcomes.empty()):
            group = self._group()
            if not group:
                continue
            try:
                self._settle(group)
            except Retryable:  # raised only after `finish` has given up
                return
            except Exception as error:
                self.failure = error if isinstance(error, Fatal) else Fatal(f"{type(error).__name__}: {error}")
                if not isinstance(error, Fatal):
                    log.exception("the committer failed")
            finally:
                for _ in group:
                    self.outcomes.task_done()

    def finish(self) -> str | None:
        """Commit the queued outcomes, then end.

        Returns:
            The dependency failure that was waited out in vain (`drain.await_end`); the splits left over stay planned.
        """
        self._ending.set()
        return await_end(self.join, lambda: not self.is_alive(), lambda: self.trouble, self._given_up.set)

    def adopt(self, split: Split, receipt: Receipt) -> None:
        """Commit the file that an earlier attempt left; bisect the split if the file only reserves its name."""
        if receipt.retired:
            self._bisect(split, _retired_before(split))
        else:
            self._commit([receipt])
        self._backlog.settle(split.split_id)

    def poison(self, split: Split, reject: Reject) -> None:
        """Bisect a split that cannot be processed as a whole, or reject its one record."""
        with crash.around("retire"):
            existing = self.wait_out(lambda: self._sink.retire(split))
        if existing is not None and not existing.retired:
            self._commit([existing])
        else:
            self._bisect(split, reject)
        self._backlog.settle(split.split_id)

    def wait_out(self, call: Callable[[], T]) -> T:
        """The result of the call, retried for as long as the store or the database does not answer.

        Raises:
            Retryable: `finish` has given up.
        """

        def report(error: Retryable) -> None:
            self.trouble = str(error)
            self._metrics.add(m.DEPENDENCY_ERRORS, 1, "commit", error.dependency)
            log.warning("waiting: %s", self.trouble)

        result = retry.WORK.wait_out(call, on_failure=report, stop=self._given_up)
        self.trouble = None
        return result

    def _group(self) -> list[Outcome]:
        group: list[Outcome] = []
        try:
            group.append(self.outcomes.get(timeout=0.2))
            while len(group) < _GROUP:
                group.append(self.outcomes.get_nowait())
        except queue.Empty:
            pass
        return group

    def _settle(self, group: Sequence[Outcome]) -> None:
        for outcome in group:
            if isinstance(outcome, Failed):
                raise Fatal(outcome.reason)
        accepted = [outcome for outcome in group if not self._circuit_breaker.holds(outcome)]
        if self._circuit_breaker.open_reason is not None:  # held outcomes stay in flight until the service has stopped
            self._metrics.set(m.CIRCUIT_BREAKER_OPEN, 1)
        for outcome in group:
            self.actor_time.add(outcome.task.trail)
        receipts = [self._final(outcome.task, receipt) for outcome, receipt in _with_receipts(accepted)]
        self._commit(receipts, {outcome.task.split.split_id: outcome for outcome in accepted})
        for outcome in accepted:
            split, receipt = outcome.task.split, outcome.task.receipt
            if isinstance(outcome, Poisoned):
                began = time.time()
                self.poison(split, outcome.reject)
                self._trace(outcome, began)
            elif receipt is not None and receipt.retired:
                self.adopt(split, receipt)
            self._backlog.settle(split.split_id)

    def _final(self, task: Task, receipt: Receipt) -> Receipt:
        """The receipt to commit for a task.

        A split without a row has no file. An earlier attempt whose worker seemed dead may still write one, because a model
        need not give the same answer twice. So the file's name is reserved first, unless this is the only attempt.
        """
        if receipt.file is None and (task.split.attempt > 1 or task.trail.deaths):
            with crash.around("retire"):
                existing = self.wait_out(lambda: self._sink.retire(task.split))
            if existing is not None:
                return existing
        return receipt

    def _commit(self, receipts: Sequence[Receipt], outcomes: Mapping[str, Outcome] | None = None) -> None:
        if not receipts:
            return
        by_id = {receipt.split_id: receipt for receipt in receipts}
        started, began = time.perf_counter(), time.time()
        with crash.around("receipts"):
            committed = self.wait_out(lambda: self._ledger.commit(receipts))
        self._metrics.observe(m.LEDGER_COMMIT_SECONDS, time.perf_counter() - started)
        losses.report(loss for split in committed if not split.replay for loss in by_id[split.split_id].losses)
        for split in committed:
            receipt = by_id[split.split_id]
            outcome = (outcomes or {}).get(split.split_id)
            trail = None if outcome is None else outcome.task.trail
            self._sizers[split.source].learn(receipt, None if trail is None else trail.seconds)
            record_metrics.committed(self._metrics, split, receipt, trail)
            self._on_settled(split)
            if outcome is not None:
                self._trace(outcome, began, receipt)

    def _trace(self, outcome: Outcome, began: float, receipt: Receipt | None = None) -> None:
        if self._tracer is not None:
            split = outcome.task.split
            attributes = attributes_of(split, self._source_attributes(split.source))
            self._tracer.settled(trace_of(outcome, attributes, (began, time.time()), receipt))

    def _bisect(self, split: Split, reject: Reject) -> None:
        """Plan the pieces of the split; a split of one record becomes a reject."""
        reader = self._sources[split.source].reader()
        children = self.wait_out(lambda: pieces(split, reader))
        cause = (reject.error, reject.stage, reject.reason)
        if children:
            log.warning("split %s is bisected: %s in %s: %s", split.split_id, *cause, extra=split.fields())
            self._metrics.add(m.BISECTIONS, 1, split.source)
            with crash.around("bisect"):
                planned = self.wait_out(lambda: self._ledger.bisect(split, children))
            self._backlog.offer(planned)
            return
        now = time.time()
        names = record_ids(parse(split.bounds), location_of(reader))
        rejects = [replace(reject, record_id=record_id, rejected_at=now, whole=True) for record_id in names]
        with crash.around("reject"):
            self.wait_out(lambda: self._ledger.reject(split, rejects))
        for each in rejects:
            fields = split.fields() | {"coordinate": each.record_id}
            log.warning("%s is rejected, it ended its workers: %s in %s: %s", each.record_id, *cause, extra=fields)
        record_metrics.rejected(self._metrics, split.source, rejects)
        self._on_settled(split)


def _with_receipts(outcomes: Sequence[Outcome]) -> list[tuple[Outcome, Receipt]]:
    """The outcomes of splits that have been written."""
    return [
        (outcome, outcome.task.receipt)
        for outcome in outcomes
        if outcome.task.receipt is not None and not outcome.task.receipt.retired
    ]


def _retired_before(split: Split) -> Reject:
    reason = "an earlier run could not process it as a whole"
    return Reject("", split.source, "write", "Poisoned", reason, split.attempt, time.time())
