"""Fixtures of the chaos suite: ledgers and stores of both kinds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from benchmarks.rows.ledger import fill
from stream_infer.config import Storage
from stream_infer.ledger import Ledger, schema
from stream_infer.ledger.store import parse_url
from tests.chaos.crash_kit import Life, Locations, living, on_disk
from tests.chaos.watch import Watch, of_bucket, of_folder


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Print a failure at once: these suites run for hours."""
    if report.failed:
        print(f"\n{report.longreprtext}", flush=True)


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
        locations, seen = _on_s3(client, bucket, request.getfixturevalue("s3")), of_bucket(client, bucket, "out/")
    else:
        locations, seen = on_disk(tmp_path), of_folder(tmp_path / "out")
    topic = kafka_topic(2)
    kafka_topic(name=f"{topic}.rejects")
    with living(Life(tmp_path / "life", kafka, topic, kafka_topic(), ledger, locations), seen) as life_and_watch:
        yield (*life_and_watch, where)


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


def _on_s3(client: Any, bucket: str, storage: Storage) -> Locations:
    return Locations(
        put=lambda name, data: client.put_object(Bucket=bucket, Key=f"in/{name}", Body=data),
        url_in=f"s3://{bucket}/in/",
        url_out=f"s3://{bucket}/out/",
        url_done=f"s3://{bucket}/done/",
        url_rejects=f"s3://{bucket}/rejects/",
        name_of=lambda name: f"s3://{bucket}/in/{name}",
        storage=storage.model_dump(exclude_defaults=True),
    )
