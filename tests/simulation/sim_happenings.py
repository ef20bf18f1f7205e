"""The input and the faults of a simulated world: a method for each word of a case."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import orjson

from stream_infer import config
from stream_infer.errors import Retryable
from stream_infer.pipeline import Pipeline
from tests.simulation.sim_database import Database
from tests.simulation.sim_kafka import GAP, Broker
from tests.simulation.sim_oracle import Oracle
from tests.simulation.sim_service import SimExecution, Town
from tests.simulation.sim_settings import LARGEST, TOPIC
from tests.simulation.sim_store import Objects
from tests.simulation.sim_world import Process, Weather, World


class Instance(Process):
    """A process that runs the pipeline."""

    def __init__(self, name: str, skew: float) -> None:
        super().__init__(name, skew)
        self.pipeline: Pipeline | None = None

    def planners(self) -> list[Any]:
        supervisor = self.pipeline._supervisor if self.pipeline is not None else None
        return supervisor.planners if supervisor is not None and self.alive else []


class Happenings:
    """The half of a play that performs the events of its case."""

    world: World
    weather: Weather
    database: Database
    broker: Broker
    objects: Objects
    town: Town
    oracle: Oracle
    settings: config.PipelineSettings
    instances: list[Instance]
    others: list[Process]
    counts: dict[str, int]
    _records = 0
    _ours = False  # a change of the input that the simulation itself makes

    def start(self, skew: float = 0.0) -> None:
        """Start an instance."""
        raise NotImplementedError

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def _alive(self) -> list[Instance]:
        return [instance for instance in self.instances if instance.alive]

    def _happens(self, what: str, *arguments: Any) -> None:
        self.world.report(" ".join(map(str, (what, *arguments))))
        self.count(what)
        getattr(self, f"_{what}")(*arguments)

    def _produce(self, number: int, kinds: tuple[str, ...]) -> None:
        topic = self.broker.topics[TOPIC]
        number %= len(topic.logs)
        for kind in kinds:
            text = self._text(kind)
            values = {"gap": GAP, "tombstone": None, "big": text.encode() + b"." * LARGEST, "bytes": b"\xff"}
            value = values.get(kind, text.encode())
            offset = len(topic.logs[number].values)
            recorded_kind = None if kind == "gap" else kind
            self.oracle.produced((TOPIC, number), topic.incarnation_name, offset, recorded_kind, text)
            self.broker.append(TOPIC, number, [value])

    def _put(self, key: str, kinds: tuple[str, ...]) -> None:
        rows = [(kind, self._text(kind)) for kind in kinds]
        lines = [b"{torn" if kind == "torn" else orjson.dumps({"text": text}) for kind, text in rows]
        data = b"\n".join(lines) + b"\n"
        if all(kind == "torn" for kind in kinds):
            data += b" " * self._records  # else two objects would have one version
        key = f"{key}.jsonl"
        with self._by_us():
            self.oracle.stored(key, self.objects.version(data), rows)
            self.objects.put("in", key, data)

    def _remove(self, key: str) -> None:
        with self._by_us():
            self.oracle.replaced(f"{key}.jsonl")
            self.objects.delete("in", f"{key}.jsonl")

    def _crash(self) -> None:
        for instance in self._alive()[-1:]:
            self.world.kill(instance)

    def _crash_at_commit(self, commits: int, how: str) -> None:
        self.database.crashes.append((commits, how))

    def _second(self, skew: float) -> None:
        if len(self._alive()) < 3:
            self.start(skew)

    def _freeze(self, seconds: float) -> None:
        for instance in self._alive()[-1:]:
            self.world.freeze(instance)
            self.world.at(seconds, partial(self.world.thaw, instance))

    def _execution_fails(self) -> None:
        for execution in self.town.executions[-1:]:
            execution.fail()

    def _worker(self, which: float) -> Iterator[tuple[SimExecution, Process]]:
        for execution in self.town.executions[-1:]:
            if execution.workers:
                yield execution, execution.workers[int(which * len(execution.workers))]

    def _worker_dies(self, which: float) -> None:
        for _, worker in self._worker(which):
            self.world.kill(worker)

    def _worker_late(self, which: float) -> None:
        for execution, worker in self._worker(which):
            execution.lose(worker)

    def _worker_stops(self, which: float) -> None:
        for execution, worker in self._worker(which):
            self.world.freeze(worker)
            execution.lose(worker)
            self.world.at(2 + 30 * which, partial(self.world.thaw, worker))

    def _store_down(self, seconds: float) -> None:
        self.objects.down_until = self.world.now + seconds

    def _kafka_down(self, seconds: float) -> None:
        self.broker.down_until = self.world.now + seconds

    def _expire(self, number: int, offsets: int) -> None:
        topic = self.broker.topics[TOPIC]
        if number < len(topic.logs):
            log = topic.logs[number]
            log.start = min(len(log.values), log.start + offsets)
            self.oracle.expired_below((TOPIC, number), log.start)

    def _recreate(self, partitions: int) -> None:
        if not self.oracle.knows_topic(TOPIC):  # nobody could tell that it is another one
            self.world.at(1.0, partial(self._recreate, partitions))
            return
        for number, log in enumerate(self.broker.topics[TOPIC].logs):
            self.oracle.expired_below((TOPIC, number), len(log.values))
        self.broker.create(TOPIC, partitions)
        for number in range(partitions):
            self.oracle.partitions.setdefault((TOPIC, number), []).append([])

    def _add_partition(self) -> None:
        logs = self.broker.topics[TOPIC].logs
        self.oracle.partitions.setdefault((TOPIC, len(logs)), []).append([])
        self.broker.grow(TOPIC)

    def _replay(self) -> None:
        """Ask for a replay of the rejects from another process."""
        process = Process("cli")
        self.others.append(process)

        def ask() -> None:
            pipeline = Pipeline(self.settings)
            try:
                pipeline.replay()
            except Retryable:
                self.world.at(1.0, self._replay)
            pipeline.close()
            self.world.at(0.0, lambda: self.world.kill(process))

        self.world.spawn(process, ask, "cli")

    def _doom(self) -> None:
        for instance in self._alive():
            if not instance.frozen:
                self.world.kill(instance)

    def _heal(self) -> None:
        """End all faults, so that every record can be finished."""
        self.world.report("healed")
        vars(self.weather).update(dict.fromkeys(vars(self.weather), 0.0))
        self.broker.down_until = self.objects.down_until = 0.0
        self.database.crashes.clear()
        for instance in self._alive():
            if instance.frozen:
                self.world.thaw(instance)

    def _text(self, kind: str) -> str:
        self._records += 1
        return f"r{self._records}|{kind}"

    @contextmanager
    def _by_us(self) -> Iterator[None]:
        self._ours = True
        yield
        self._ours = False
