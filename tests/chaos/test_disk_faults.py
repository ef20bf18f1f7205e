"""The disk is full: under the ledger, under the output, under both."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.service_kit import MODEL, Service, World, files_source, living, on_disk
from tests.chaos.watch import of_folder

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1200)]
SIZE = 24 * 2**20


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own, in memory, that can be filled."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted: sudo make chaos")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def _full(disk: Path) -> Iterator[None]:
    """No byte is left while the block runs."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (2**20, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    try:
        yield
    finally:
        filler.unlink()


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    folder = tmp_path_factory.mktemp("disks")
    with _small_disk(folder / "ledger") as ledger, _small_disk(folder / "out") as out:
        yield {"ledger": ledger, "out": out}


@pytest.fixture(scope="module")
def world(disks: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("disk-faults")
    put = on_disk(folder / "in")
    output = disks["out"] / "files"
    output.mkdir()
    settings = {
        "name": "disk-faults",
        "ledger": f"sqlite:///{disks['ledger']}/ledger.db",
        "sources": [files_source("inbox", f"file://{folder}/in/")],
        "model": MODEL,
        "sink": {"url": f"file://{output}/"},
        "limits": {"split_records": 4, "freshness": "100ms"},
    }
    with living(Service(folder, settings), of_folder(output), put=put) as world:
        world.works(world.objects)
        yield world


@pytest.mark.parametrize(
    ("full", "says"),
    [(("out",), "No space left on device"), (("ledger",), "full"), (("out", "ledger"), "full")],
    ids=["output", "ledger", "both"],
)
def test_a_full_disk_is_waited_out(world: World, disks: dict[str, Path], full: tuple[str, ...], says: str) -> None:
    for _ in range(3):
        world.objects(12)
        with _full(disks[full[0]]), _full(disks[full[-1]]) if len(full) > 1 else _nothing():
            world.objects(24)
            world.service.shows(says)
            assert world.watch.troubles == []
        world.works(lambda: world.objects(4))


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def test_nothing_is_left_lying_about(world: World, disks: dict[str, Path]) -> None:
    """A write that failed takes its temporary file with it."""
    left = [path for path in disks["out"].rglob("*") if path.is_file() and path.suffix != ".parquet"]
    assert left == []
    assert shutil.disk_usage(disks["out"]).free > SIZE / 2
    assert os.stat(disks["ledger"] / "ledger.db").st_size < SIZE / 2


def test_a_start_onto_a_full_disk_waits_or_says_so(world: World, disks: dict[str, Path]) -> None:
    world.objects(8)
    with _full(disks["ledger"]), _full(disks["out"]):
        world.service.kill()
        world.objects(8)
        world.service.start(ready=False)
        try:
            status: int | None = world.service.process.wait(60)
        except subprocess.TimeoutExpired:
            status = None
    if status is not None:
        assert status == 1
        assert "Traceback" not in world.service.tail()
        assert "full" in world.service.tail() or "No space left" in world.service.tail()
        world.service.start()
    world.works(world.objects)


def test_at_the_end_the_audit_agrees(world: World) -> None:
    world.works(world.objects)
    world.audited()
