"""Fixtures of real servers: each server starts once, for the first test that asks for it."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from stream_infer.config import Storage
from stream_infer.ops.parts import PartMissing, S3Server, start_kafka, start_postgres, start_s3
from stream_infer.ops.parts.process import Server, free_port
from tests.skips import pytest_sessionfinish, pytest_terminal_summary

__all__ = ["pytest_sessionfinish", "pytest_terminal_summary"]  # pytest reads its hooks from this module

# a shared machine is slow at times; that is no failure
hypothesis.settings.register_profile("shared", deadline=None)
hypothesis.settings.load_profile("shared")

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_RAY_STARTED = "Ray runtime started"  # a line that `ray start` prints
_RAY_STARTS = 5  # Ray gives up on a node after 30 s, too soon for a machine under load


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of a real broker."""
    try:
        with start_kafka(tmp_path_factory.mktemp("kafka")) as broker:
            yield broker.servers
    except PartMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def kafka_topic(kafka: str) -> Callable[..., str]:
    """A factory of topics: ``kafka_topic(partitions=4, **config)`` gives the name."""
    admin = AdminClient({"bootstrap.servers": kafka})

    def make(partitions: int = 1, name: str | None = None, **config: str) -> str:
        topic = name or f"t-{uuid.uuid4().hex[:12]}"
        admin.create_topics([NewTopic(topic, partitions, 1, config=config)])[topic].result(30)
        return topic

    return make


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3 server."""
    with start_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def s3(s3_server: S3Server) -> Storage:
    """The `storage` settings of the S3 server."""
    return Storage(**s3_server.storage())


@pytest.fixture(scope="session")
def s3_client(s3_server: S3Server) -> Any:
    """A boto3 client of the S3 server."""
    return s3_server.client()


@pytest.fixture
def s3_bucket(s3_client: Any) -> Callable[[], str]:
    """A factory of fresh buckets."""

    def make() -> str:
        name = f"b-{uuid.uuid4().hex[:16]}"
        s3_client.create_bucket(Bucket=name)
        return name

    return make


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a database of a real server."""
    try:
        with start_postgres() as server:
            yield server.url
    except PartMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The machine's Chromium as a `playwright.sync_api.Browser`."""
    from playwright.sync_api import sync_playwright

    executable = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if executable is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    sandbox = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=[*sandbox, "--disable-dev-shm-usage"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Ray cluster of one node: that of ``STREAM_INFER_CHAOS_RAY``, or of one started here.

    Tests share it because starting Ray is two thirds of the work of a service's start.
    """
    if address := os.environ.get("STREAM_INFER_CHAOS_RAY"):
        yield address
        return
    # in the environment, so that child processes inherit it: they do not send a token that is only in the home folder
    os.environ.update({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)})
    port, ray = free_port(), str(Path(sys.executable).with_name("ray"))
    temp = Path("/tmp") / f"stream-infer-chaos-{os.getpid()}"  # Ray's sockets need a short path
    head = ["start", "--head", f"--port={port}", f"--temp-dir={temp}", "--num-cpus=4", "--include-dashboard=false"]
    more = ["--object-store-memory=200000000", "--disable-usage-stats", "--block"]
    log = tmp_path_factory.mktemp("ray") / "ray.log"
    server = Server([ray, *head, *more], log, port, 180, {"PYTHONUNBUFFERED": "1"})
    try:
        for _ in range(_RAY_STARTS):
            server.start()
            if _node_started(server, log):
                break
            server.stop()
            log.unlink()
        else:
            pytest.fail("no Ray cluster starts here")
        yield f"127.0.0.1:{port}"
    finally:
        server.stop()
        shutil.rmtree(temp, ignore_errors=True)


def _node_started(server: Server, log: Path) -> bool:
    """True as soon as the node has started, False when its process ended. The GCS answers long before that."""
    while server.process.poll() is None:
        if _RAY_STARTED in log.read_text(errors="replace"):
            return True
        time.sleep(0.2)
    return False
