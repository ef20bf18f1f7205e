"""A killed rebuild: the next one gives the same result, and nothing else opens the ledger before."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from stream_infer import crash
from stream_infer.contracts import PlanBudget
from stream_infer.errors import Fatal
from stream_infer.ledger import Ledger, schema
from stream_infer.ledger.renewal import renewed
from stream_infer.ledger.store import parse_url
from stream_infer.maintenance.rebuild import Rebuilt, rebuild, settled
from stream_infer.splits import Receipt
from tests.connectors.kafka.test_source import FakeCluster, source_of

SETTINGS = {"sink.url": "s3://out"}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/ledger.db"
        return
    database_url: str = request.getfixturevalue("postgres")
    engine = create_engine(parse_url(database_url))
    schema.metadata.drop_all(engine)
    yield database_url
    with engine.begin() as connection:
        schema.metadata.drop_all(connection)
        for name in connection.scalars(text("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'ledger_old%'")).all():
            connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
    engine.dispose()


def _receipts() -> list[Receipt]:
    source = source_of(FakeCluster([50]))
    position: Any = SimpleNamespace(get=lambda key: None)
    splits = [part.split for part in source.plan(position, PlanBudget(9, 10, 2**30, 0.0, 1e9)) if part.split]
    return [
        Receipt(split.split_id, "s", 1, split.bounds, f"{split.folder}/{split.split_id}.parquet", 10, written_at=1.0)
        for number, split in enumerate(splits)
        if number != 2
    ]


def _rebuild(url: str, force: bool = False) -> tuple[Rebuilt, str | None]:
    with renewed(url, SETTINGS, "test", force=force) as (ledger, kept):
        return rebuild(ledger, _receipts(), [source_of(FakeCluster([50]))], 100), kept


def _killed_at(point: str, folder: Path, act: Callable[[], object]) -> bool:
    child = os.fork()
    if child == 0:
        crash._POINTS = crash._Points(f"{folder}:{point}")  # type: ignore[misc]
        try:
            act()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_a_killed_rebuild_is_begun_again(url: str, tmp_path: Path) -> None:
    for point in ("begun", "planned", "committed", "filled"):
        assert _killed_at(f"rebuild.{point}", tmp_path, lambda: _rebuild(url)), point
        with pytest.raises(Fatal, match="run `stream-infer rebuild FILE` again"):
            Ledger.open(url, SETTINGS)
    result, kept = _rebuild(url)
    assert (result, kept) == (Rebuilt(committed=4, planned=1, rows=40), None)
    ledger = Ledger.open(url, SETTINGS)
    assert [split.bounds["start"] for split in ledger.unfinished()] == [20]
    assert ledger.audit() == {"planned": 50, "committed": 40, "rejected": 0, "in_flight": 10, "lost": 0}
    ledger.close()


def test_a_ledger_with_work_is_only_set_aside_by_force(url: str, tmp_path: Path) -> None:
    assert _killed_at("rebuild.ended", tmp_path, lambda: _rebuild(url))
    with pytest.raises(Fatal, match="--force"):
        _rebuild(url)
    assert _killed_at("rebuild.aside.before", tmp_path, lambda: _rebuild(url, True))
    Ledger.open(url, SETTINGS).close()
    assert _killed_at("rebuild.aside.after", tmp_path, lambda: _rebuild(url, True))
    _rebuild(url, True)
    result, kept = _rebuild(url, True)
    assert (result.committed, kept is not None) == (4, True)
    if url.startswith("sqlite"):
        old = Ledger.open(f"sqlite:///{kept}", SETTINGS)
        assert old.audit()["committed"] == 40
        old.close()


def test_output_that_still_moves_is_looked_at_again() -> None:
    looks = iter([1, 2, 2, 3])
    sink: Any = SimpleNamespace(receipts=lambda: iter(_receipts()[: next(looks)]))
    assert len(settled(sink, 0.001)) == 2
    assert len(settled(sink, 0.0)) == 3
