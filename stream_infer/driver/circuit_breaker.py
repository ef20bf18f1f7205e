"""The circuit breaker: stops rejecting when everything fails, because then the cause is not in the records."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from stream_infer.config import CircuitBreakerLimits
from stream_infer.splits import Receipt, Reject, Split
from stream_infer.tasks import Outcome, Poisoned

Cause = tuple[str, str]  # stage and class of the error
# One bad file of a million lines does not open the breaker. Ten bad files do, or a hundred times the limit from one file.
_ORIGINS: Final = 10
_ONE_ORIGIN: Final = 100
_ROOTS: Final = 4  # planned splits that must fail; the pieces of one of them are no further evidence
_REMEMBERED: Final = 10_000
_ORDINARY: Final = frozenset({"tombstone"})  # a deletion in a Kafka topic: a thousand in a row are a clean-up


@dataclass(slots=True)
class _Entry:
    """Outcomes of one split, or of a few small ones."""

    total: int = 0
    alike: Counter[Cause] = field(default_factory=Counter)
    origins: dict[Cause, set[str]] = field(default_factory=dict)

    def add(self, other: _Entry) -> None:
        self.total += other.total
        self.alike.update(other.alike)
        for cause, origins in other.origins.items():
            kept = self.origins.setdefault(cause, set())
            kept.update(list(origins)[: _ORIGINS - len(kept)])


class _Recent:
    """The last outcomes of a source, as many as `verdict` may need."""

    def __init__(self, limits: CircuitBreakerLimits) -> None:
        self._limits = limits
        self._entries: deque[_Entry] = deque()
        self._sum = 0

    def add(self, entry: _Entry) -> None:
        if not self._entries or self._entries[-1].total + entry.total > self._limits.records // 32:
            self._entries.append(_Entry())
        self._entries[-1].add(entry)
        self._sum += entry.total
        while self._sum - self._entries[0].total >= self._limits.records * _ONE_ORIGIN:
            self._sum -= self._entries.popleft().total

    def verdict(self, cause: Cause) -> tuple[int, int] | None:
        """(failed, total) of the last records: those with this cause, and all; None where the breaker stays closed.

        At least ``limits.records`` records count. While the share of failures stays above the limit, older records count too,
        until the failures come from enough files or messages.
        """
        total = alike = 0
        origins: set[str] = set()
        for entry in reversed(self._entries):
            total += entry.total
            alike += entry.alike[cause]
            origins |= entry.origins.get(cause, set())
            if total < self._limits.records:
                continue
            if alike < self._limits.share * total:
                return None
            if len(origins) >= min(_ORIGINS, self._limits.records) or total >= self._limits.records * _ONE_ORIGIN:
                return alike, total
        return None


class _Source:
    """The recent failures of one source."""

    def __init__(self, limits: CircuitBreakerLimits) -> None:
        self.recent = _Recent(limits)
        self.poisoned = 0  # splits since the last row
        self.roots: set[str] = set()


class CircuitBreaker:
    """Decides for each outcome, before it is final, whether its split must stay planned. For one thread.

    Attributes:
        open_reason: why the circuit breaker is open, in a sentence; None while it is closed.
        rejected: records rejected in this run.
    """

    def __init__(self, limits: CircuitBreakerLimits | None) -> None:
        self.open_reason: str | None = None
        self.rejected = 0
        self._limits = limits
        self._sources: dict[str, _Source] = {}
        self._roots: OrderedDict[str, str] = OrderedDict()

    def holds(self, outcome: Outcome) -> bool:
        """Whether the split must stay planned: it failed, and the circuit breaker is open or opens with this outcome.

        A split with a row is never held: its file is final already, rejects included. Nor is a replay: it adds no reject.
        """
        split, receipt = outcome.task.split, outcome.task.receipt
        if self._limits is None or split.replay:
            return False
        source = self._sources.setdefault(split.source, _Source(self._limits))
        fails = isinstance(outcome, Poisoned) or _only_rejects(receipt)
        if self.open_reason is None:
            if isinstance(outcome, Poisoned):
                self._poisoned(source, split, outcome.reject)
            elif receipt is not None and not receipt.retired:
                self._finished(source, receipt)
        return fails and self.open_reason is not None

    def sentence(self, in_flight: int) -> str:
        """The message for a person: the cause and what to do.

        Args:
            in_flight: records that stay planned.
        """
        return (
            f"everything fails, so the circuit breaker is open: {self.open_reason}. "
            f"{in_flight} records are held back and stay planned: repair the model, "
            "the preprocessor or the source's format and start again. What was rejected "
            f"({self.rejected} records in this run) can be replayed. To have all that fails rejected: limits.circuit_breaker: null"
        )

    def _finished(self, source: _Source, receipt: Receipt) -> None:
        if receipt.rows:
            source.poisoned = 0
            source.roots.clear()
        rejects = [reject for reject in receipt.rejects if reject.error not in _ORDINARY]
        entry = _Entry(total=receipt.rows + len(rejects))
        for reject in rejects:
            cause = (reject.stage, reject.error)
            entry.alike[cause] += 1
            origins = entry.origins.setdefault(cause, set())
            if len(origins) < _ORIGINS:
                origins.add(reject.record_id.partition("#")[0])
        self._judge(source, receipt.source, entry, rejects)
        if self.open_reason is None or receipt.rows:
            self.rejected += len(receipt.rejects)

    def _poisoned(self, source: _Source, split: Split, why: Reject) -> None:
        assert self._limits is not None
        root = self._root(split)
        source.poisoned += 1
        source.roots.add(root)
        if source.poisoned >= self._limits.splits and len(source.roots) >= min(_ROOTS, self._limits.splits):
            self.open_reason = (
                f"the last {source.poisoned} splits of source {split.source!r} gave no row; the last one: "
                f"{why.error} in {why.stage}, {why.reason}"
            )
        elif split.records <= 1:
            cause = (why.stage, why.error)
            self._judge(source, split.source, _Entry(1, Counter([cause]), {cause: {root}}), [why])
            self.rejected += self.open_reason is None

    def _judge(self, source: _Source, name: str, entry: _Entry, rejects: Sequence[Reject]) -> None:
        if not entry.total:
            return
        source.recent.add(entry)
        for (stage, error), _ in entry.alike.most_common(1):
            failed = source.recent.verdict((stage, error))
            if failed is not None:
                last = next(item.reason for item in rejects if (item.stage, item.error) == (stage, error))
                self.open_reason = (
                    f"of the last {failed[1]} records of source {name!r}, {failed[0]} were rejected in {stage} with {error} "
                    f"(the last one: {last})"
                )

    def _root(self, split: Split) -> str:
        """Id of the planned split that this one is a piece of; empty if too old to be known."""
        root = split.split_id
        if split.parent is not None:
            root = self._roots.get(split.parent, split.parent if split.depth == 1 else "")
        self._roots[split.split_id] = root
        if len(self._roots) > _REMEMBERED:
            self._roots.popitem(last=False)
        return root


def _only_rejects(receipt: Receipt | None) -> bool:
    return receipt is not None and not receipt.rows and bool(receipt.rejects or receipt.retired)
