"""A case: what happens in one simulation, as data, so that it can be printed, shrunk and kept."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

HORIZON = 25.0  # seconds of faults; then the world heals and everything must come to its end
_BAD = ("raise", "moody", "sour", "kill", "memory", "hang", "tombstone", "big", "bytes")
_RATES = ("kafka_error", "store_error", "lost_reply", "late_put", "commit_lost", "commit_refused", "event_twice")


@dataclass(frozen=True)
class Case:
    """One simulation.

    Attributes:
        seed: of everything that `happenings` and `rates` do not say: delays, interleavings, which call a rate hits.
        happenings: (seconds, what, argument, ...) of what is put in and what goes wrong.
        rates: chances of faults per call, fields of `sim_outside.Weather`.
        setup: how the pipeline is configured.
    """

    seed: int
    happenings: tuple[tuple[Any, ...], ...]
    rates: dict[str, float]
    setup: dict[str, Any]

    @classmethod
    def of(cls, seed: int) -> Case:
        """The case of a seed."""
        rng = random.Random(seed)
        doomed = rng.random() < 0.03
        setup = {
            "stages": rng.choice(["fused", "fused", "three"]),
            "split_records": rng.choice([2, 5, 12]),
            "freshness": rng.choice([0.0, 0.0, 1.5]),
            "actors": rng.randint(1, 3),
            "partitions": rng.randint(1, 3) if rng.random() < 0.85 else 0,
            "doomed": doomed,
            "execution_splits": rng.choice([100_000, 100_000, 4]),
            "idle_after": rng.choice([600.0, 3.0]),
            "date_by": rng.choice(["plan", "plan", "plan", "event"]),
            "end": rng.choice(["stop", "kill"]),
        }
        setup["files"] = not setup["partitions"] or rng.random() < 0.5
        setup["after"] = rng.choice(["keep", "delete"])
        setup["events"] = rng.random() < 0.5
        calm = rng.random() < 0.3
        rates = {} if calm else {name: rng.choice([0.02, 0.1]) for name in _RATES if rng.random() < 0.4}
        happenings = [*_inputs(rng, setup), *_faults(rng, setup)]
        if any("moody" in str(item) for item in happenings):
            happenings += [(HORIZON * part, "replay") for part in (rng.random(), 1.2) if rng.random() < 0.8]
        return cls(seed, tuple(sorted(happenings, key=lambda item: item[0])), rates, setup)

    @classmethod
    def race(cls, seed: int) -> Case:
        """A case in which instances meet: started beside a running one, frozen past everything, clocks an hour off."""
        plain = cls.of(seed)
        rng = random.Random(~seed)
        inputs = [item for item in plain.happenings if item[1] in ("produce", "put", "replay")]
        happenings = [item for item in inputs if "doom" not in str(item)]
        for _ in range(rng.randint(1, 2)):
            when, skew = rng.random() * HORIZON * 0.9, rng.choice([0.0, 3600.0, -3600.0])
            if rng.random() < 0.5:
                happenings.append((when, "freeze", 0.5 + rng.random() * 20))
                when += rng.random() * 2
            happenings.append((when, "second", skew))
        setup = {**plain.setup, "doomed": False}
        return cls(seed, tuple(sorted(happenings, key=lambda item: item[0])), plain.rates, setup)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, document: str) -> Case:
        fields = json.loads(document)
        fields["happenings"] = tuple(_tupled(item) for item in fields["happenings"])
        return cls(**fields)

    def smaller(self) -> Iterator[Case]:
        """Cases with less in them, the boldest cuts first."""
        size = len(self.happenings)
        while size:
            for at in range(0, len(self.happenings), size):
                yield replace(self, happenings=self.happenings[:at] + self.happenings[at + size :])
            size //= 2
        for name in self.rates:
            yield replace(self, rates={key: value for key, value in self.rates.items() if key != name})
        for at, (when, what, *rest) in enumerate(self.happenings):
            if what in ("produce", "put") and len(rest[-1]) > 1:
                for kinds in (rest[-1][: len(rest[-1]) // 2], rest[-1][1:]):
                    fewer = (when, what, *rest[:-1], kinds)
                    yield replace(self, happenings=(*self.happenings[:at], fewer, *self.happenings[at + 1 :]))


def shrink(case: Case, fails: Callable[[Case], bool], tries: int = 300) -> Case:
    """A smaller case that still fails, by dropping greedily."""
    while tries > 0:
        for smaller in case.smaller():
            tries -= 1
            if fails(smaller):
                case = smaller
                break
            if tries <= 0:
                break
        else:
            break
    return case


def _tupled(item: Any) -> Any:
    return tuple(_tupled(part) for part in item) if isinstance(item, list) else item


def _kinds(rng: random.Random, count: int, bad: float) -> tuple[str, ...]:
    return tuple(rng.choice(_BAD) if rng.random() < bad else "good" for _ in range(count))


def _inputs(rng: random.Random, setup: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    bad = rng.choice([0.0, 0.0, 0.05, 0.2])
    if setup["partitions"]:
        for _ in range(rng.randint(1, 6)):
            kinds = list(_kinds(rng, rng.randint(1, 12), bad))
            if rng.random() < 0.2:
                kinds.insert(rng.randrange(len(kinds)), "gap")
            yield rng.random() * HORIZON * 0.8, "produce", rng.randrange(setup["partitions"]), tuple(kinds)
    if setup["files"]:
        for _ in range(rng.randint(1, 4)):
            torn = tuple(
                kind if kind not in ("tombstone", "big", "bytes") else "torn"
                for kind in _kinds(rng, rng.randint(1, 5), bad)
            )
            yield rng.random() * HORIZON * 0.8, "put", f"k{rng.randrange(4)}", torn
        if rng.random() < 0.2:
            yield rng.random() * HORIZON, "remove", f"k{rng.randrange(4)}"
    if setup["doomed"] and setup["partitions"]:
        yield rng.random() * 5, "produce", 0, ("good", "doom", "good")


def _faults(rng: random.Random, setup: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    # good records are rejected when the service dies 4 · attempts times around them, so it does not
    for _ in range(rng.choice([0, 1, 1, 2, 3])):
        when = rng.random() * HORIZON
        kind = rng.random()
        if kind < 0.25:
            yield when, "crash"
        elif kind < 0.65:
            yield when * 0.8, "crash_at_commit", rng.randint(1, 8), rng.choice(["before", "after"])
        elif kind < 0.8:
            yield when, "second", rng.choice([0.0, 0.0, 3600.0, -3600.0])
        elif kind < 0.9:
            yield when, "freeze", 1 + rng.random() * 20
            yield when + rng.random() * 2, "second", 0.0
        else:
            yield when, "execution_fails"
    for _ in range(rng.choice([0, 0, 1, 3])):
        yield rng.random() * HORIZON, rng.choice(["worker_dies", "worker_late", "worker_stops"]), rng.random()
    if rng.random() < 0.15:
        yield rng.random() * HORIZON, rng.choice(["store_down", "kafka_down"]), rng.random() * 8
    if setup["partitions"]:
        if rng.random() < 0.25:
            yield rng.random() * HORIZON, "expire", rng.randrange(setup["partitions"]), rng.randint(1, 15)
        if rng.random() < 0.1:
            yield rng.random() * HORIZON, "recreate", rng.randint(1, setup["partitions"])
        if rng.random() < 0.1:
            yield rng.random() * HORIZON, "add_partition"
