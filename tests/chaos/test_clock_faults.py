"""The wall clock is wrong by an hour, jumps while the service runs, and differs from start to start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaProducer

from tests.chaos.service_kit import MODEL, PYTHONPATH, Service, World, files_source, living, on_disk
from tests.chaos.watch import of_folder

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]
HOUR = 3600
CLOCK = Path(__file__).parent / "clock"


class ClockWorld(World):
    """With the file that sets the service's clock."""

    clock: Path
    topic: str

    def set(self, seconds: int) -> None:
        self.clock.with_suffix(".new").write_text(str(seconds))
        self.clock.with_suffix(".new").rename(self.clock)

    def feed(self) -> None:
        self.messages(self.topic, 30)
        self.objects()


@pytest.fixture(scope="module")
def world(
    kafka: str, kafka_topic: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ClockWorld]:
    folder, topic = tmp_path_factory.mktemp("clock"), kafka_topic()
    put = on_disk(folder / "in")
    settings = {
        "name": "clock-faults",
        "ledger": f"sqlite:///{folder}/ledger.db",
        "sources": [
            {"name": "stream", "kind": "kafka", "servers": kafka, "topics": [topic]},
            files_source("inbox", f"file://{folder}/in/"),
        ],
        "model": MODEL,
        "sink": {"url": f"file://{folder}/out/"},
        "limits": {"split_records": 20, "freshness": "500ms"},
    }
    (folder / "out").mkdir()
    environment = {"PYTHONPATH": f"{CLOCK}:{PYTHONPATH}", "STREAM_INFER_TEST_CLOCK": str(folder / "ahead")}
    service = Service(folder / "service", settings, environment)
    producer = KafkaProducer(bootstrap_servers=kafka, enable_idempotence=True)
    with living(service, of_folder(folder / "out")) as plain:
        world = ClockWorld(plain.service, plain.watch, producer, put)
        world.clock, world.topic = folder / "ahead", topic
        world.works(world.feed)
        yield world


def test_the_clock_jumps_while_records_wait_for_company(world: ClockWorld) -> None:
    for ahead in (HOUR, -HOUR, 0, -HOUR, HOUR):
        world.feed()
        world.set(ahead)
        world.works(world.feed)


def test_each_start_has_another_clock_and_the_last_died_in_the_middle(world: ClockWorld) -> None:
    for ahead in (-HOUR, HOUR, 0):
        world.messages(world.topic, 500)
        world.objects(20)
        world.service.kill()
        world.set(ahead)
        world.service.start()
        world.works(world.feed)


def test_at_the_end_the_audit_agrees(world: ClockWorld) -> None:
    world.works(world.feed)
    world.audited()
