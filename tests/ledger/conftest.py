"""The databases that a ledger may live in: SQLite always, PostgreSQL where its binaries are installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from stream_infer.ledger import schema
from stream_infer.ledger.store import parse_url


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """A factory: the URL of an empty database; on PostgreSQL always the same, emptied."""
    if request.param == "sqlite":
        numbers = iter(range(1_000_000))
        return lambda: f"sqlite:///{tmp_path}/ledger-{next(numbers)}.db"
    url: str = request.getfixturevalue("postgres")

    def emptied() -> str:
        engine = create_engine(parse_url(url))
        schema.metadata.drop_all(engine)
        engine.dispose()
        return url

    return emptied


@pytest.fixture
def url(new_url: Callable[[], str]) -> str:
    """The URL of an empty database."""
    return new_url()
