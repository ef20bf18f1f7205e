"""Where the chaos suite lives: ledgers and stores of both kinds, and a Ray cluster that stands."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from crash_kit import Life, Place, living, on_disk
from sqlalchemy import create_engine
from watch import Watch, of_bucket, of_folder

from benchmarks.rows.ledger import fill
from ops.parts.process import Server, free_port
from stream_infer.config import Storage
from stream_infer.ledger import Ledger, schema
from stream_infer.ledger.store import parse_url

_STARTED = "Ray runtime started"  # as `ray start` says it
_STARTS = 5  # Ray gives up on a node after 30 s, too soon for a machine under load


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Ray cluster of one node: that of ``STREAM_INFER_CHAOS_RAY``, or one of its own.

    Starting a Ray of its own is two thirds of a local start's work.
    """
    if standing := os.environ.get("STREAM_INFER_CHAOS_RAY"):
        yield standing
        return
    # said aloud, and inherited by all that joins: a token that only lies in the home folder is not sent by those
    os.environ.update({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)})
    port, ray = free_port(), str(Path(sys.executable).with_name("ray"))
    temp = Path("/tmp") / f"stream-infer-chaos-{os.getpid()}"  # Ray's sockets need a short path
    head = ["start", "--head", f"--port={port}", f"--temp-dir={temp}", "--num-cpus=4", "--include-dashboard=false"]
    more = ["--object-store-memory=200000000", "--disable-usage-stats", "--block"]
    log = tmp_path_factory.mktemp("ray") / "ray.log"
    server = Server([ray, *head, *more], log, port, 180, {"PYTHONUNBUFFERED": "1"})
    try:
        for _ in range(_STARTS):
            server.start()
            if _stands(server, log):
                break
            server.stop()
            log.unlink()
        else:
            pytest.fail("no Ray cluster starts here")
        yield f"127.0.0.1:{port}"
    finally:
        server.stop()
        shutil.rmtree(temp, ignore_errors=True)


def _stands(server: Server, log: Path) -> bool:
    """True as soon as the node has started, False when it ended instead. Its GCS answers long before."""
    while server.process.poll() is None:
        if _STARTED in log.read_text(errors="replace"):
            return True
        time.sleep(0.2)
    return False


@pytest.fixture(params=["sqlite-s3", "postgresql-disk"])
def life(
    request: pytest.FixtureRequest,
    kafka: str,
    kafka_topic: Callable[..., str],
    ledger_at: Callable[[str], str],
    tmp_path: Path,
) -> Iterator[tuple[Life, Watch, str]]:
    """A pipeline over Kafka and files, the watch over its output, and ``s3`` or ``disk``."""
    database, _, where = request.param.partition("-")
    ledger = ledger_at(database)
    if where == "s3":
        client, bucket = request.getfixturevalue("s3_client"), request.getfixturevalue("s3_bucket")()
        place, seen = _on_s3(client, bucket, request.getfixturevalue("s3")), of_bucket(client, bucket, "out/")
    else:
        place, seen = on_disk(tmp_path), of_folder(tmp_path / "out")
    with living(Life(tmp_path / "life", kafka, kafka_topic(2), kafka_topic(), ledger, place), seen) as found:
        yield (*found, where)


@pytest.fixture
def ledger_at(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """URL of an empty ledger in ``sqlite`` or ``postgresql``."""
    makers = {
        "sqlite": lambda: _sqlite(tmp_path / "ledger.db"),
        "postgresql": lambda: _emptied(request.getfixturevalue("postgres")),
    }
    return lambda database: makers[database]()


def _sqlite(file: Path) -> str:
    """A new ledger; with ``STREAM_INFER_CHAOS_OBJECTS`` one that has seen so many objects."""
    if objects := int(os.environ.get("STREAM_INFER_CHAOS_OBJECTS", "0")):
        Ledger.open(f"sqlite:///{file}", {}).close()
        fill(file, objects)
    return f"sqlite:///{file}"


def _emptied(url: str) -> str:
    engine = create_engine(parse_url(url))
    schema.metadata.drop_all(engine)
    engine.dispose()
    return url


def _on_s3(client: Any, bucket: str, storage: Storage) -> Place:
    return Place(
        put=lambda name, data: client.put_object(Bucket=bucket, Key=f"in/{name}", Body=data),
        url_in=f"s3://{bucket}/in/",
        url_out=f"s3://{bucket}/out/",
        url_done=f"s3://{bucket}/done/",
        url_rejects=f"s3://{bucket}/rejects/",
        name_of=lambda name: f"s3://{bucket}/in/{name}",
        storage=storage.model_dump(exclude_defaults=True),
    )
