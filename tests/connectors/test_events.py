"""Three dialects of bucket notifications, as the servers really send them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.files.events import ObjectEvent, parse_events
from connectors.files.listing import glob_pattern

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
