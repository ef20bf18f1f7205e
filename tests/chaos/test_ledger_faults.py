"""PostgreSQL fails under the ledger while the service runs."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from stream_infer.ops.parts import PartMissing, Postgres, start_postgres
from tests.chaos.service_kit import MODEL, Service, World, files_source, living, on_disk
from tests.chaos.tcp_proxy import CommitProxy
from tests.chaos.watch import of_folder

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1200)]
AWAY = "the ledger's database did not answer"


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[Postgres]:
    try:
        with start_postgres() as server:
            yield server
    except PartMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def proxy(postgres_server: Postgres) -> Iterator[CommitProxy]:
    proxy = CommitProxy(postgres_server.port)
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def world(postgres_server: Postgres, proxy: CommitProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("ledger-faults")
    put = on_disk(folder / "in")
    settings = {
        "name": "ledger-faults",
        "ledger": postgres_server.url_at(proxy.port),
        "sources": [files_source("inbox", f"file://{folder}/in/")],
        "model": MODEL,
        "sink": {"url": f"file://{folder}/out/"},
        "limits": {"split_records": 4, "freshness": "100ms"},
    }
    (folder / "out").mkdir()
    with living(Service(folder, settings), of_folder(folder / "out"), put=put) as world:
        world.works(world.objects)
        yield world


def test_the_server_is_ended_at_once_under_load_and_recovers(world: World, postgres_server: Postgres) -> None:
    world.objects(40)
    postgres_server.crash()
    world.objects(40)
    world.service.shows(AWAY)
    postgres_server.start()
    world.works(world.objects)


def test_the_service_ends_while_the_server_is_away(world: World, postgres_server: Postgres) -> None:
    world.objects(40)
    postgres_server.crash()
    world.service.shows(AWAY)
    assert world.service.stop() == 0
    postgres_server.start()
    world.service.start()
    world.works(world.objects)


def test_connections_are_refused_for_a_while(world: World, proxy: CommitProxy) -> None:
    world.objects(20)
    proxy.shut = True
    world.objects(20)
    world.service.shows(AWAY)
    proxy.shut = False
    world.works(world.objects)


def test_the_reply_to_a_commit_is_lost_again_and_again(world: World, proxy: CommitProxy) -> None:
    """The transaction took place and nobody was told: it is found to be there, and done once."""
    before = proxy.lost
    for _ in range(15):
        wanted = proxy.lost + 1
        proxy.lose = 1
        world.objects(6)
        world.service.until(lambda wanted=wanted: proxy.lost >= wanted, "lost a reply")  # type: ignore[misc]
    assert proxy.lost - before == 15
    assert AWAY in world.service.log.read_text()
    world.works(world.objects)


def test_every_reply_to_a_commit_is_lost_for_a_while(world: World, proxy: CommitProxy) -> None:
    proxy.lose = 10**6
    world.objects(40)
    world.service.shows(AWAY)
    wanted = proxy.lost + 5
    world.service.until(lambda: proxy.lost >= wanted, "lost more replies")
    proxy.lose = 0
    world.works(world.objects)


def test_a_long_transaction_of_another_holds_the_row(world: World, postgres_server: Postgres) -> None:
    import psycopg

    with psycopg.connect(postgres_server.url.replace("+psycopg", "")) as other:
        other.execute("select * from ledger_state for update")
        world.objects(10)
        world.service.shows(AWAY)
        time.sleep(1)
        other.rollback()
    world.works(world.objects)


def test_at_the_end_the_audit_agrees(world: World) -> None:
    world.works(world.objects)
    world.audited()
