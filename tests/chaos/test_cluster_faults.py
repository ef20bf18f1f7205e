"""Failures of Ray under the service: workers, the attempt tracker, the raylet, a node, the memory of the object store."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.chaos.service_kit import MODEL, Service, World, files_source, living, on_disk
from tests.chaos.soak_kit import workers
from tests.chaos.watch import of_folder

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]
HERE = Path(__file__).parent


def _settings(folder: Path, **more: Any) -> dict[str, Any]:
    (folder / "out").mkdir()
    return {
        "name": "cluster-faults",
        "ledger": f"sqlite:///{folder}/ledger.db",
        "sources": [files_source("inbox", f"file://{folder}/in/")],
        "model": MODEL,
        "sink": {"url": f"file://{folder}/out/"},
        "limits": {"split_records": 4, "freshness": "100ms", "attempts": 5},
        **more,
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("cluster")
    put = on_disk(folder / "in")
    service = Service(folder / "service", _settings(folder, stages="three"))
    with living(service, of_folder(folder / "out"), put=put) as world:
        world.works(world.objects)
        yield world


def _ours(world: World, name: str) -> list[psutil.Process]:
    return [process for process in workers(world.service) if process.cmdline()[0].startswith(f"ray::{name}")]


def test_workers_are_killed_under_load(world: World) -> None:
    """Random workers are killed, as the kernel does when memory runs out. The seed is printed."""
    seed = time.time_ns() % 10**6
    print(f"\nseed {seed}")
    dice = random.Random(seed)
    for _ in range(8):
        world.objects(24)
        victims = _ours(world, "MapWorker")
        if victims:
            dice.choice(victims).kill()
        time.sleep(dice.uniform(0.1, 1.5))
    world.works(world.objects)


def test_a_stopped_worker_is_waited_for(world: World) -> None:
    world.objects(24)
    victims = _ours(world, "MapWorker")
    for process in victims:
        process.suspend()
    time.sleep(5)
    for process in victims:
        process.resume()
    world.works(world.objects)


def test_the_attempt_tracker_is_killed_under_load(world: World) -> None:
    """Without the tracker no attempts are counted: the execution ends and a new one takes its work."""
    for _ in range(2):
        world.objects(40)
        for process in _ours(world, "AttemptTracker"):
            process.kill()
        world.works(world.objects)


def test_the_raylet_is_killed_under_load(world: World) -> None:
    """Without its raylet the service ends instead of hanging, and the next start continues."""
    world.objects(40)
    family = psutil.Process(world.service.process.pid).children(recursive=True)
    raylets = [process for process in family if process.name() == "raylet"]
    assert len(raylets) == 1
    raylets[0].kill()
    world.service.process.wait(300)
    assert world.service.process.returncode != 0
    world.service.start()
    world.works(world.objects)


def test_at_the_end_the_audit_agrees(world: World) -> None:
    world.works(world.objects)
    world.audited()


def test_blocks_larger_than_the_store_for_them(tmp_path: Path) -> None:
    """Sixteen blocks of 12 MB pass three stages and a store of 80 MB. Ray spills or waits, and nothing is lost."""
    put = on_disk(tmp_path / "in")
    settings = _settings(tmp_path, stages="three")
    small = {"RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": str(80 * 2**20)}
    service = Service(tmp_path / "service", settings, small)
    with living(service, of_folder(tmp_path / "out"), put=put) as world:
        world.works(lambda: world.objects(64, size=3 * 2**20))
        world.audited()


def test_a_node_is_lost_under_load(tmp_path: Path) -> None:
    put = on_disk(tmp_path / "in")
    service = Service(tmp_path / "service", _settings(tmp_path))
    service.command = [sys.executable, str(HERE / "cluster_driver.py"), str(service.file)]
    with living(service, of_folder(tmp_path / "out"), put=put) as world:
        world.works(world.objects)
        for left in (1, 0):
            world.objects(60)
            service.process.send_signal(signal.SIGUSR1)
            world.objects(60)
            lost = f"a node was lost, {left} others"
            service.until(lambda lost=lost: lost in service.log.read_text(), "lost")  # type: ignore[misc]
            world.works(world.objects)
        world.audited()


def test_a_standing_cluster_is_joined_and_left(tmp_path: Path, ray_cluster: str) -> None:
    """The service leaves the cluster running, and the next start joins it."""
    put, settings = on_disk(tmp_path / "in"), _settings(tmp_path)
    records_so_far: dict[str, Any] = {"expected": {}, "number": 0}
    for life in ("first", "second"):
        service = Service(tmp_path / life, settings, {"RAY_ADDRESS": ray_cluster})
        with living(service, of_folder(tmp_path / "out"), put=put, **records_so_far) as world:
            world.works(world.objects)
            world.audited()
            family = psutil.Process(service.process.pid).children(recursive=True)
            assert "raylet" not in {process.name() for process in family}
            records_so_far["number"] = world.number
