"""A play: one case performed from the first event to the last, with the oracle watching."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import stream_infer.connectors.files.source
import stream_infer.connectors.kafka.cluster
import stream_infer.connectors.kafka.messages
import stream_infer.connectors.kafka.reader
import stream_infer.connectors.kafka.source
import stream_infer.connectors.kafka.watcher
import stream_infer.connectors.parquet.sink
import stream_infer.ledger
import stream_infer.pipeline
import stream_infer.worker.actor
from stream_infer.connectors.files.source import FilesSource
from stream_infer.connectors.kafka.source import KafkaSource
from stream_infer.connectors.parquet.sink import ParquetSink
from stream_infer.errors import Fatal, Fenced, Retryable
from stream_infer.pipeline import Pipeline
from stream_infer.stages import Capacity
from tests.simulation import sim_service
from tests.simulation.sim_case import HORIZON, Case
from tests.simulation.sim_database import Database
from tests.simulation.sim_happenings import Happenings, Instance
from tests.simulation.sim_kafka import Broker, Message, SimCluster, consumers
from tests.simulation.sim_oracle import Oracle
from tests.simulation.sim_service import SimExecution, SimModel, Town
from tests.simulation.sim_settings import TOPIC, settings_of
from tests.simulation.sim_shims import simulated
from tests.simulation.sim_store import Objects, SimQueue, SimStore, Stored
from tests.simulation.sim_world import Process, Weather, World

_PATIENCE = 2400.0  # seconds after the faults in which everything must have come to its end: each hang takes a deadline
_MOST_EVENTS = 100_000
_LATE = 70.0  # seconds after the last instance ended in which zombies may still write


@dataclass
class Result:
    """The result of a case.

    Attributes:
        failure: the first thing that did not hold, or None.
        counts: what happened, by name, for the report.
    """

    case: Case
    failure: str | None
    cause: BaseException | None
    log: list[tuple[float, str]]
    event_count: int
    seconds: float
    counts: dict[str, int] = field(default_factory=dict)


class Mute:
    """Metrics that discard every value."""

    model = "sim"

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_, **__: None


class Play(Happenings):
    """One case with its world, instances and oracle. `perform` may be called once."""

    def __init__(self, case: Case, database: Database) -> None:
        self.case = case
        self.world = World(case.seed)
        self.weather = Weather(**case.rates)
        self.database = database
        self.broker = Broker(self.world, self.weather)
        self.objects = Objects(self.world, self.weather)
        self.town = Town(self.world, self.weather)
        self.instances: list[Instance] = []
        self.others: list[Process] = []
        self.queues: list[SimQueue] = []
        self.settings = settings_of(case, database.url)
        self.counts: dict[str, int] = {}
        self.closing = self.settled = False
        database.start(self.town, lambda: stream_infer.ledger.Ledger.open(database.url, {}).close())
        by_event = case.setup["date_by"] == "event"
        self.oracle = Oracle(self.world, database.file, lenient=bool(case.setup["doomed"]), by_event=by_event)
        database.committed = self.oracle.follow_commit
        self.objects.changed = self._changed
        for _ in range(bool(case.setup["partitions"])):
            self.broker.create(TOPIC, case.setup["partitions"])
        for number in range(case.setup["partitions"]):
            self.oracle.partitions[TOPIC, number] = [[]]

    def perform(self, verbose: bool = False) -> Result:
        with simulated(self.world, self.case.seed, self._replacements(), verbose=verbose):
            try:
                self._perform()
            finally:
                for process in [
                    *self.instances,
                    *self.others,
                    *(one for all_ in self.town.executions for one in all_.workers),
                ]:
                    self.world.kill(process)
                self.oracle.close()
        world = self.world
        return Result(self.case, world.failure, world.cause, world.log, world.event_count, world.now, self.counts)

    def _perform(self) -> None:
        world = self.world
        self.start()
        for when, what, *arguments in self.case.happenings:
            world.at(when, partial(self._happens, what, *arguments))
        world.at(HORIZON, self._heal)
        world.at(0.5, self._look)
        if not world.run(lambda: self.settled, _MOST_EVENTS):
            world.fail(f"it did not come to its end: {self.oracle.open()}")
            return
        self.closing = True
        for instance in self.instances:
            if self.case.setup["end"] == "kill":
                world.kill(instance)
            elif instance.pipeline is not None:
                instance.pipeline.stop()
        over = [False]
        world.at(_PATIENCE, lambda: over.__setitem__(0, True))
        world.run(lambda: over[0] or not any(instance.alive for instance in self.instances), _MOST_EVENTS)
        if any(instance.alive for instance in self.instances):
            world.fail("the instance did not stop")
        late = [False]
        world.at(_LATE, lambda: late.__setitem__(0, True))
        world.run(lambda: late[0], _MOST_EVENTS)
        if world.failure is None:
            try:
                self.oracle.finish()
            except AssertionError as error:
                world.fail(str(error), error)

    # instances

    def start(self, skew: float = 0.0) -> None:
        if self._alive():
            self.count("races")
        instance = Instance(f"instance-{len(self.instances) + 1}", skew)
        self.instances.append(instance)
        self.count("instances")
        self.world.report(f"{instance.name} starts, {skew:+.0f} s off")
        self.world.spawn(instance, lambda: self._serve(instance), "main")

    def _serve(self, instance: Instance) -> None:
        world = self.world
        instance.pipeline = Pipeline(self.settings)
        if self.closing:
            instance.pipeline.stop()
        how = "ended"
        try:
            instance.pipeline.run()
        except Fenced:
            how = "was fenced"
            self.count("fenced")
        except Retryable as error:
            how = f"gave up: {error}"
        except Fatal as error:
            world.fail(f"{instance.name} stopped: {error}", error)
        world.check_alive()
        instance.pipeline.close()
        world.report(f"{instance.name} {how}")
        world.at(0.0, lambda: world.kill(instance))

    def _look(self) -> None:
        """Restart an ended service, as a service manager does. Fail for a failed planner. Note when all work is done."""
        world = self.world
        if self.closing:
            return
        if not any(instance.alive for instance in self.instances):
            self.start()
        for instance in self.instances:
            for planner in instance.planners():
                if planner.failure is not None and not isinstance(planner.failure, Fenced):
                    world.fail(f"{planner.name} of {instance.name}: {planner.failure}", planner.failure)
        last = max([HORIZON, *(when for when, *_ in self.case.happenings)])
        asking = any(process.alive for process in self.others)
        if world.now > last + 2 and not asking and not self.oracle.open():
            self.settled = True
        elif world.now > HORIZON + _PATIENCE:
            world.fail(f"it did not come to its end: {self.oracle.open()}")
        else:
            world.at(0.5, self._look)

    # how the world answers

    def _changed(self, bucket: str, key: str, stored: Stored | None) -> None:
        if bucket == "out":
            self.world.report(f"{key.rpartition('/')[2][:8]} {'appears' if stored else 'goes'}")
            self.oracle.file_changed(key, stored.data if stored else None)
        elif stored is not None:
            for _ in range(1 + (self.world.rng.random() < self.weather.event_twice)):
                for queue in self.queues:
                    self.world.at(self.world.rng.random() * 2, partial(queue.notify, key))
        elif not self._ours:
            self.oracle.input_deleted(key)

    # how the product is put into the world

    def _queue(self) -> SimQueue:
        self.queues.append(SimQueue(self.world))
        return self.queues[-1]

    def _store(self, url: str, _storage: object) -> SimStore:
        bucket, _, root = url.removeprefix("s3://").partition("/")
        return SimStore(self.objects, bucket, root.strip("/"))

    def _replacements(self) -> list[tuple[Any, str, Any]]:
        town, world = self.town, self.world
        cluster = lambda _link: SimCluster(self.broker, self.oracle.offsets_committed)  # noqa: E731
        kinds: dict[str, Any] = {"kafka": KafkaSource, "files": FilesSource}
        source = lambda item, name, limits: kinds[item.kind].from_config(item, pipeline=name, limits=limits)  # noqa: E731
        return [
            (stream_infer.connectors.kafka.cluster, "Consumer", consumers(self.broker)),
            (stream_infer.connectors.kafka.watcher, "Consumer", consumers(self.broker)),
            (stream_infer.connectors.kafka.reader, "Consumer", consumers(self.broker)),
            (stream_infer.connectors.kafka.messages, "Message", Message),  # it maps the class's methods
            (stream_infer.connectors.kafka.source, "Cluster", cluster),
            (stream_infer.connectors.kafka.reader, "Cluster", cluster),
            (stream_infer.connectors.files.source, "open_store", self._store),
            (stream_infer.connectors.files.source, "open_queue", lambda *_: self._queue()),
            (stream_infer.connectors.parquet.sink, "open_store", self._store),
            (stream_infer.worker.actor, "ray", sim_service.Ray(world)),
            (stream_infer.worker.actor, "watched", partial(sim_service.watched, world)),
            (stream_infer.pipeline, "RayExecution", partial(SimExecution, town)),
            (stream_infer.ledger, "connect", self.database.open),
            (stream_infer.pipeline, "Metrics", lambda *_: Mute()),
            (stream_infer.pipeline, "build_model", lambda _: SimModel(world, self._doom)),
            (stream_infer.pipeline, "build_source", source),
            (stream_infer.pipeline, "build_sink", ParquetSink.from_config),
            (stream_infer.pipeline, "connect", lambda: Capacity(self.case.setup["actors"], 0, 2**34)),
        ]


@contextmanager
def theatre(verbose: bool = False) -> Iterator[Callable[[Case], Result]]:
    """A function that performs cases, with a ledger file in memory where the system has such a folder."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="sim-", dir=memory if memory.is_dir() else None) as folder:
        database = Database(Path(folder))
        yield lambda case: Play(case, database).perform(verbose)
