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
from stream_infer.contracts import Sink, Source
from stream_infer.driver import losses
from stream_infer.driver.admission import Backlog
from stream_infer.driver.bisection import pieces
from stream_infer.driver.circuit_breaker import CircuitBreaker
from stream_infer.driver.drain import await_end
from stream_infer.driver.sizing import SplitSizer
from stream_infer.driver.traces import trace_of
from stream_infer.errors import Fatal, Retryable
from stream_infer.ledger import Ledger
from stream_infer.splits import Receipt, Reject, Split
from stream_infer.telemetry import metrics as m
from stream_infer.telemetry import record_metrics
from stream_infer.telemetry.metrics import Metrics
from stream_infer.telemetry.tracing import Tracer
from stream_infer.worker.task import Batch

log = logging.getLogger(__name__)
T = TypeVar("T")
_GROUP = 256  # receipts of one transaction


class Committer(threading.Thread):
    """Takes batches from ``outcomes``, several at a time, and settles their splits.

    Attributes:
        failure: why the service must stop, if it must.
        trouble: the dependency failure it waits out at the moment.
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
    ) -> None:
        super().__init__(name="committer", daemon=True)
        self.outcomes: queue.Queue[Batch] = queue.Queue()
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
        self.actor_time = record_metrics.ActorTime(metrics)
        self.on_settled: Callable[[Split], None] = lambda _: None

    def run(self) -> None:
        while not (self._ending.is_set() and self.outcomes.empty()):
            group = self._group()
            if not group:
                continue
            try:
                self._settle(group)
            except Retryable:  # only once it was given up
                return
            except Exception as error:
                self.failure = error if isinstance(error, Fatal) else Fatal(f"{type(error).__name__}: {error}")
                if not isinstance(error, Fatal):
                    log.exception("the committer failed")
            finally:
                for _ in group:
                    self.outcomes.task_done()

    def finish(self) -> str | None:
        """Commit what is queued, then end. What was waited for in vain (`farewell.awaited`): the rest stays planned."""
        self._ending.set()
        return await_end(self.join, lambda: not self.is_alive(), lambda: self.trouble, self._given_up.set)

    def adopt(self, split: Split, receipt: Receipt) -> None:
        """Commit the file that an earlier attempt left; bisect where the file only holds the name."""
        if receipt.retired:
            self._divide(split, _retired_before(split))
        else:
            self._commit([receipt])
        self._backlog.settle(split.split_id)

    def poison(self, split: Split, why: Reject) -> None:
        """The split as a whole cannot be processed: divide it, or reject its one record."""
        with crash.around("retire"):
            standing = self.patiently(lambda: self._sink.retire(split))
        if standing is not None and not standing.retired:
            self._commit([standing])
        else:
            self._divide(split, why)
        self._backlog.settle(split.split_id)

    def patiently(self, call: Callable[[], T]) -> T:
        """The result, however long the store or the database stays away, unless `finish` has given up.

        Raises:
            Retryable: it has.
        """

        def report(error: Retryable) -> None:
            self.trouble = str(error)
            self._metrics.add(m.DEPENDENCY_ERRORS, 1, "commit", error.dependency)
            log.warning("waiting: %s", self.trouble)

        result = retry.WORK.wait_out(call, on_failure=report, stop=self._given_up)
        self.trouble = None
        return result

    def _group(self) -> list[Batch]:
        group: list[Batch] = []
        try:
            group.append(self.outcomes.get(timeout=0.2))
            while len(group) < _GROUP:
                group.append(self.outcomes.get_nowait())
        except queue.Empty:
            pass
        return group

    def _settle(self, group: Sequence[Batch]) -> None:
        fatal = next((batch.fatal for batch in group if batch.fatal is not None), None)
        if fatal is not None:
            raise Fatal(fatal)
        going = [batch for batch in group if not self._circuit_breaker.holds(batch)]
        if self._circuit_breaker.stands is not None:  # what is held stays in flight until the service has stopped
            self._metrics.set(m.CIRCUIT_BREAKER_OPEN, 1)
        for batch in group:
            self.actor_time.told(batch.seconds, batch.waits)
        self._commit(
            [self._final(batch, batch.receipt) for batch in going if batch.receipt and not batch.receipt.retired],
            {batch.split.split_id: batch for batch in going},
        )
        for batch in going:
            if batch.poisoned is not None:
                started = time.time()
                self.poison(batch.split, batch.poisoned)
                self._trace(batch, started)
            elif batch.receipt is not None and batch.receipt.retired:
                self.adopt(batch.split, batch.receipt)
            self._backlog.settle(batch.split.split_id)

    def _final(self, batch: Batch, receipt: Receipt) -> Receipt:
        """What to commit of an outcome.

        Where no row is left there is no file, and an earlier attempt that was only taken for dead may still come with
        rows: a model need not answer twice alike. So the name is taken first, unless this is the only attempt.
        """
        if receipt.file is None and (batch.split.attempt > 1 or batch.deaths):
            with crash.around("retire"):
                standing = self.patiently(lambda: self._sink.retire(batch.split))
            if standing is not None:
                return standing
        return _with_seconds(receipt, batch)

    def _commit(self, receipts: Sequence[Receipt], batches: Mapping[str, Batch] | None = None) -> None:
        if not receipts:
            return
        by_id = {receipt.split_id: receipt for receipt in receipts}
        started, began = time.perf_counter(), time.time()
        with crash.around("receipts"):
            committed = self.patiently(lambda: self._ledger.commit(receipts))
        self._metrics.observe(m.LEDGER_COMMIT_SECONDS, time.perf_counter() - started)
        losses.report(loss for split in committed if not split.replay for loss in by_id[split.split_id].losses)
        for split in committed:
            receipt = by_id[split.split_id]
            self._sizers[split.source].learn(receipt)
            batch = (batches or {}).get(split.split_id)
            begun = batch.marks["read"][0] if batch is not None and "read" in batch.marks else None
            oldest = None if batch is None else batch.oldest
            record_metrics.committed(self._metrics, split, receipt, begun, oldest)
            self.on_settled(split)
            if batch is not None:
                self._trace(batch, began, receipt)

    def _trace(self, batch: Batch, began: float, receipt: Receipt | None = None) -> None:
        if self._tracer is not None:
            attributes = self._sources[batch.split.source].attributes(batch.split)
            self._tracer.settled(trace_of(batch, attributes, (began, time.time()), receipt))

    def _divide(self, split: Split, why: Reject) -> None:
        source = self._sources[split.source]
        children = self.patiently(lambda: pieces(source, split))
        if children:
            told = (split.split_id, why.error, why.stage, why.reason)
            log.warning("split %s is divided: %s in %s: %s", *told, extra=split.fields())
            self._metrics.add(m.BISECTIONS, 1, split.source)
            with crash.around("bisect"):
                planned = self.patiently(lambda: self._ledger.bisect(split, children))
            self._backlog.offer(planned)
            return
        now = time.time()
        named = source.record_ids(split)
        rejects = [replace(why, record_id=record_id, rejected_at=now, whole=True) for record_id in named]
        with crash.around("reject"):
            self.patiently(lambda: self._ledger.reject(split, rejects))
        for reject in rejects:
            told, more = (reject.record_id, why.error, why.stage, why.reason), {"coordinate": reject.record_id}
            log.warning("%s is rejected, it ended its workers: %s in %s: %s", *told, extra=split.fields() | more)
        record_metrics.refused(self._metrics, split.source, rejects)
        self.on_settled(split)


def _with_seconds(receipt: Receipt, batch: Batch) -> Receipt:
    """The receipt with the time that writing took, which the file itself could not know."""
    return replace(receipt, seconds={**receipt.seconds, **batch.seconds})


def _retired_before(split: Split) -> Reject:
    reason = "an earlier run found that it cannot be processed as a whole"
    return Reject("", split.source, "write", "Poisoned", reason, split.attempt, time.time())
