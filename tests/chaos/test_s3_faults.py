"""Failures of the object store while the service runs: bad answers, and an object that changes while it is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from stream_infer.ops.parts import S3Server
from tests.chaos.http_proxy import FaultProxy, error_in_ok, refused, reset, shortened, trickled, truncated
from tests.chaos.service_kit import MODEL, Service, World, files_source, in_bucket, living
from tests.chaos.watch import of_bucket

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1200)]
BUCKET = "faults"
IN, MOVED, OUT = f"^/{BUCKET}/in/", f"^/{BUCKET}/moved/", f"^/{BUCKET}/out/"
LISTING = f"^/{BUCKET}/?[?].*list-type=2"


class S3World(World):
    """A world with a proxy before its store."""

    proxy: FaultProxy
    client: Any
    put_moved: Any


@pytest.fixture(scope="module")
def world(s3_server: S3Server, s3_client: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3World]:
    folder = tmp_path_factory.mktemp("s3-faults")
    s3_client.create_bucket(Bucket=BUCKET)
    proxy = FaultProxy(s3_server.endpoint_url)
    storage = {**s3_server.storage(), "endpoint_url": proxy.url}
    settings = {
        "name": "s3-faults",
        "ledger": f"sqlite:///{folder}/ledger.db",
        "sources": [
            files_source("inbox", f"s3://{BUCKET}/in/", storage),
            files_source("moving", f"s3://{BUCKET}/to-move/", storage, after={"move": f"s3://{BUCKET}/moved/"}),
        ],
        "model": MODEL,
        "sink": {"url": f"s3://{BUCKET}/out/", "storage": storage},
        "limits": {"split_records": 4, "freshness": "200ms"},
    }
    try:
        with living(Service(folder, settings), of_bucket(s3_client, BUCKET, "out/")) as plain:
            world = S3World(plain.service, plain.watch, put=in_bucket(s3_client, BUCKET, "in/"))
            world.proxy, world.client = proxy, s3_client
            world.put_moved = in_bucket(s3_client, BUCKET, "to-move/")
            world.works(world.objects)
            yield world
    finally:
        proxy.close()


REQUESTS = {"reading": ("GET", IN), "writing": ("PUT", OUT), "listing": ("GET", LISTING)}
REFUSALS = [
    (429, "SlowDown"),
    (500, "InternalError"),
    (503, "ServiceUnavailable"),
    (403, "ExpiredToken"),
    (403, "RequestTimeTooSkewed"),
    (404, "NoSuchBucket"),
]


@pytest.mark.parametrize(("status", "code"), REFUSALS)
@pytest.mark.parametrize("purpose", REQUESTS)
def test_a_refusal_is_waited_out(world: S3World, purpose: str, status: int, code: str) -> None:
    method, path = REQUESTS[purpose]
    with world.proxy.fault(method, path, instead=refused(status, code)) as fault:
        world.objects()
        world.service.until(lambda: fault.matched_requests > 0, "asked")
        world.service.shows(f"s3://{BUCKET}")
    world.works(world.objects)


@pytest.mark.parametrize("spoil", [error_in_ok, truncated, shortened, reset], ids=lambda spoil: spoil.__name__)
@pytest.mark.parametrize("purpose", REQUESTS)
def test_a_spoilt_answer_is_not_taken_for_a_good_one(world: S3World, purpose: str, spoil: Any) -> None:
    method, path = REQUESTS[purpose]
    with world.proxy.fault(method, path, spoil=spoil) as fault:
        world.objects(size=2000)
        world.service.until(lambda: fault.matched_requests > 0, "asked")
        # a listing or an answer without a body has nothing that could be cut short
        if purpose == "reading" or (purpose == "writing" and spoil in (error_in_ok, reset)):
            world.service.shows(f"s3://{BUCKET}")
    world.works(world.objects)


def test_a_slow_trickle_only_slows(world: S3World) -> None:
    with world.proxy.fault("GET|PUT", f"{IN}|{OUT}", spoil=trickled) as fault:
        world.objects(size=2000)
        world.settled()
    assert fault.matched_requests > 0
    world.works(world.objects)


def test_a_lost_reply_to_the_write_is_no_second_file(world: S3World) -> None:
    """The write took effect and its reply is lost: the writer sees that the file exists."""
    with world.proxy.fault("PUT", OUT, spoil=reset, left=3) as fault:
        world.objects(12)
        world.settled()
    assert fault.matched_requests == 3
    world.works(world.objects)


def test_an_object_replaced_before_its_read_is_a_named_loss_and_the_new_version_new_work(world: S3World) -> None:
    first = world.objects(1)[0]
    world.settled()
    name = "late.txt"

    def replace() -> None:
        world.put(name, b"the second version")  # type: ignore[misc]

    with world.proxy.fault("GET", f"{IN}{name}", before=replace, left=1):
        url = world.put(name, b"the first version")  # type: ignore[misc]
        world.expected_losses.add(f"{url}#first")
        import hashlib

        world.expected[f"{url}#0"] = hashlib.sha256(b"the second version").hexdigest()
        world.settled()
    assert first in world.expected
    states = {item["state"] for item in world.service.ask("where", url)}
    assert "committed" in states
    assert world.service.ask("status")["records"]["lost"] == len(world.expected_losses)


def test_an_object_deleted_before_its_read_is_a_named_loss(world: S3World) -> None:
    def delete() -> None:
        world.client.delete_object(Bucket=BUCKET, Key="in/gone.txt")

    before = len(world.expected_losses)
    with world.proxy.fault("GET", f"{IN}gone.txt", before=delete, left=1):
        world.expected_losses.add(world.put("gone.txt", b"soon gone"))  # type: ignore[misc]
        world.service.until(
            lambda: world.service.status().get("records", {}).get("lost", 0) == before + 1, "counted as lost"
        )
    world.works(world.objects)


@pytest.mark.parametrize("spoil", [error_in_ok, reset], ids=lambda spoil: spoil.__name__)
def test_an_after_action_that_failed_loses_no_original(world: S3World, spoil: Any) -> None:
    plain, world.put = world.put, world.put_moved
    try:
        with world.proxy.fault("PUT", MOVED, spoil=spoil, left=4) as fault:
            names = world.objects(3)
            world.service.until(lambda: fault.matched_requests > 0, "moved")
        world.settled()
    finally:
        world.put = plain

    def moved() -> bool:
        listed = world.client.list_objects_v2(Bucket=BUCKET, Prefix="moved/").get("Contents", [])
        there = {item["Key"].removeprefix("moved/") for item in listed}
        wanted = {name.partition("/to-move/")[2].removesuffix("#0") for name in names}
        return wanted <= there

    world.service.until(moved, "moved")


def test_the_server_is_killed_and_comes_back(world: S3World, s3_server: S3Server) -> None:
    if s3_server.process is None:
        pytest.skip("the S3 server runs in Docker and cannot be killed: stop Docker and install Go")
    world.objects(12)
    s3_server.process.kill()
    world.service.shows(f"s3://{BUCKET}")
    s3_server.process.start()
    world.works(world.objects)


def test_at_the_end_the_audit_agrees(world: S3World) -> None:
    world.works(world.objects)
    world.audited()
