"""A process that is killed while it brings an old ledger up to date leaves the old one whole, or the new one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from stream_infer.ledger import Ledger, schema
from stream_infer.ledger.store import parse_url

ROOT = Path(__file__).parents[2]
OLD = """CREATE TABLE ledger_rejects (seq {big} NOT NULL PRIMARY KEY, record_id TEXT NOT NULL, source TEXT NOT NULL,
split_id TEXT NOT NULL, stage TEXT NOT NULL, error TEXT NOT NULL, reason TEXT NOT NULL, attempts INTEGER NOT NULL,
rejected_at FLOAT NOT NULL, UNIQUE (record_id, source))"""


@pytest.mark.parametrize(("point", "version"), [("ledger.open.row", 1), ("ledger.open.committed", schema.VERSION)])
def test_a_kill_inside_a_migration(url: str, tmp_path: Path, point: str, version: int) -> None:
    _of_version_1(url)
    opening = f"from stream_infer.ledger import Ledger; Ledger.open({url!r}, {{}})"
    environment = {**os.environ, "STREAM_INFER_CRASH": f"{tmp_path}:{point}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", opening], env=environment, check=False, capture_output=True)
    assert done.returncode == -9, done.stderr
    engine = create_engine(parse_url(url))
    with engine.connect() as connection:
        assert schema.stored_version(connection) == version
        assert connection.execute(text("SELECT record_id FROM ledger_rejects")).all() == [("r",)]
    engine.dispose()
    ledger = Ledger.open(url, {})
    assert ledger.status()["schema_version"] == schema.VERSION
    ledger.close()


def _of_version_1(url: str) -> None:
    Ledger.open(url, {}).close()
    engine = create_engine(parse_url(url))
    with engine.begin() as connection:
        for table in (schema.rejections, schema.samples, schema.published, schema.requests, schema.rejects):
            table.drop(connection)
        connection.execute(text(OLD.format(big="INTEGER" if engine.dialect.name == "sqlite" else "BIGSERIAL")))
        connection.execute(text("INSERT INTO ledger_rejects VALUES (1,'r','s','x','read','E','r',1,5.0)"))
        connection.execute(text("UPDATE ledger_state SET schema_version = 1"))
    engine.dispose()
