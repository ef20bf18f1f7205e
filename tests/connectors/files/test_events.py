"""Bucket notifications in three dialects, recorded from real servers."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer import config
from stream_infer.connectors.files.events import ObjectEvent, parse_events
from stream_infer.connectors.files.listing import glob_pattern
from stream_infer.connectors.files.settings import FilesSettings
from stream_infer.connectors.files.source import FilesSource
from stream_infer.contracts import PlanBudget
from stream_infer.ledger import Ledger
from stream_infer.ops.parts.process import free_port, server

KEY = "docs/sp ace+ü.txt"


def _record(name: str, key: str, etag: str, **more: object) -> bytes:
    item = {"key": key, "size": 3, "eTag": etag, **more}
    return json.dumps({"Records": [{"eventName": name, "s3": {"bucket": {"name": "inbox"}, "object": item}}]}).encode()


@pytest.mark.parametrize(
    "body",
    [
        _record("s3:ObjectCreated:Put", KEY, '"abc"', sequencer=7),  # versitygw: plain key, quoted ETag
        _record("s3:ObjectCreated:Put", "docs/sp+ace%2B%C3%BC.txt", "abc", sequencer="17A"),  # MinIO
        _record("ObjectCreated:Put", "docs/sp+ace%2B%C3%BC.txt", "abc"),  # AWS
        json.dumps({"Message": _record("ObjectCreated:Put", "docs/sp+ace%2B%C3%BC.txt", "a").decode()}).encode(),  # SNS
    ],
)
def test_each_dialect_means_the_same_key(body: bytes) -> None:
    (event,) = parse_events(body)
    assert event.bucket == "inbox"
    assert event.keys[0] == KEY


@pytest.mark.parametrize(
    "body",
    [
        b'{"Service":"S3","Event":"s3:TestEvent","Bucket":"inbox"}',
        _record("s3:ObjectRemoved:Delete", KEY, "abc"),
        b"no json",
        b'{"Records":[{"eventName":"ObjectCreated:Put"}]}',
        b'{"Records":null}',
        b"[]",
    ],
)
def test_what_creates_nothing_gives_nothing(body: bytes) -> None:
    assert parse_events(body) == []


@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_no_notification_can_break_the_parser(document: object) -> None:
    assert all(isinstance(event, ObjectEvent) for event in parse_events(json.dumps(document)))


@pytest.mark.parametrize(
    ("glob", "key", "matches"),
    [
        ("**/*.txt", "a.txt", True),
        ("**/*.txt", "a/b/c.txt", True),
        ("*.txt", "a/b.txt", False),
        ("a/**", "a/b/c", True),
        ("a?c.[x]", "abc.[x]", True),
    ],
)
def test_globs(glob: str, key: str, matches: bool) -> None:
    assert (glob_pattern(glob).fullmatch(key) is not None) == matches


def test_sqs_notifications_are_planned_without_a_listing(tmp_path: Path) -> None:
    """A moto server stands for S3 and SQS. The next listing is an hour away."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    endpoint = f"http://127.0.0.1:{port}"
    storage = config.Storage(endpoint_url=endpoint, region="us-east-1", access_key_id="a", secret_access_key="b")
    keys = {
        "endpoint_url": endpoint,
        "region_name": "us-east-1",
        "aws_access_key_id": "a",
        "aws_secret_access_key": "b",
    }
    with server(command, tmp_path / "moto.log", port):
        objects, queues = boto3.client("s3", **keys), boto3.client("sqs", **keys)
        objects.create_bucket(Bucket="inbox")
        url = queues.create_queue(QueueName="q")["QueueUrl"]
        arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        wanted = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
        objects.put_bucket_notification_configuration(Bucket="inbox", NotificationConfiguration=wanted)
        settings = FilesSettings.model_validate(
            {
                "name": "inbox",
                "kind": "files",
                "url": "s3://inbox/",
                "storage": storage,
                "discover": {"backfill": "1h", "events": {"sqs": {"queue_url": url, "endpoint_url": endpoint}}},
            }
        )
        source = FilesSource.from_config(settings, pipeline="p", limits=config.Limits())
        ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", {})
        ledger.acquire("test")
        assert _planned_keys(source, ledger) == []
        objects.put_object(Bucket="inbox", Key=KEY, Body=b"one")
        deadline = time.monotonic() + 30
        planned: list[str] = []
        while not planned:
            assert time.monotonic() < deadline
            source.wait(1.0)
            planned = _planned_keys(source, ledger)
        assert planned == [KEY]
        source.close()


def _planned_keys(source: FilesSource, ledger: Ledger) -> list[str]:
    budget = PlanBudget(10, 10, 2**20, 0.0, time.time())
    parts = list(source.plan(ledger.position("inbox"), budget))
    splits = ledger.plan("inbox", parts)
    return [item["key"] for split in splits for item in split.bounds["objects"]]
