"""Whatever stands in a notification, a footer, a coordinate, a header or a pointer: an answer or this project's error."""

from __future__ import annotations

import io
import json
import os
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from stream_infer import config
from stream_infer.connectors.files.events import parse_events
from stream_infer.connectors.kafka.contents import _Pointers
from stream_infer.connectors.kafka.messages import traceparent
from stream_infer.connectors.kafka.settings import Pointer
from stream_infer.connectors.parquet.footer import Tail
from stream_infer.errors import RejectRecord
from stream_infer.records import ObjectCoordinate, parse_coordinate

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Records", "Message", "s3", "bucket", "name", "object", "key", "eventName"]), inner
        )
    ),
    max_leaves=12,
)


@given(st.one_of(st.binary(max_size=300), JSON.map(lambda value: json.dumps(value).encode())))
def test_notifications(body: bytes) -> None:
    for event in parse_events(body):
        assert isinstance(event.bucket, str)
        assert all(isinstance(key, str) for key in event.keys)


def test_a_notification_nested_in_itself_ends() -> None:
    body = "{}"
    for _ in range(12):
        body = json.dumps({"Message": body})
    assert parse_events(body) == []
    assert parse_events(b"[" * 100_000) == []


def _file(document: bytes) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({b"stream-infer": document}), sink, store_schema=False)
    return sink.getvalue()


@given(st.data())
def test_files_of_others_beside_ours(data: st.DataObject) -> None:
    content = _file(data.draw(st.binary(max_size=50) | JSON.map(lambda value: json.dumps(value).encode())))
    start = data.draw(st.integers(0, len(content) - 1))
    noise = data.draw(st.binary(max_size=20))
    content = content[:start] + noise + content[start + len(noise) :]
    tail = Tail(len(content), content)
    missing = tail.missing()
    assert missing is None or 0 <= missing < len(content)
    receipt, rows = tail.receipt()
    assert rows is not None
    assert receipt is None or receipt.split_id is not None


def test_a_footer_that_names_columns_in_no_text_is_not_ours() -> None:
    content = _file(b"{}").replace(b"\x18\x01a", b"\x18\x01\xff")  # the column's name, as Thrift writes it
    assert Tail(len(content), content).receipt() == (None, 0)


@given(
    st.text(max_size=60)
    | st.text(max_size=40).map("s3://b/k?version=".__add__)
    | st.text(max_size=40).map("kafka://".__add__)
)
def test_coordinates(text: str) -> None:
    try:
        parsed = parse_coordinate(text)
    except ValueError:
        return
    assert parse_coordinate(str(parsed)) == parsed


@given(st.text(min_size=1, max_size=30), st.text(max_size=12), st.integers(0, 2**40))
def test_every_key_has_a_coordinate_that_comes_back(key: str, version: str, row: int) -> None:
    if any("\ud800" <= letter <= "\udfff" for letter in key + version):
        return  # no UTF-8, so no key of any store
    coordinate = ObjectCoordinate("s3", "bucket", key, version, row)
    assert parse_coordinate(str(coordinate)) == coordinate


TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["traceparent", "TraceParent", "x"]),
            st.none() | st.binary(max_size=80) | st.binary(max_size=2000).map(TRACE.encode().__add__),
        )
    )
    | st.none()
)
def test_trace_headers(headers: list[tuple[str, bytes | None]] | None) -> None:
    value = traceparent(headers)
    assert value is None or len(value) <= 60


@given(
    st.lists(
        st.sampled_from(
            ["..", ".", "a", "%2e%2e", "%2E.", "/", "//", "\\", "\0", "@", "s3:", "file:", "b", "in", "%2f", "?", "#"]
        ),
        max_size=12,
    )
)
def test_pointers_never_leave_their_folder(pieces: list[str]) -> None:
    pointers = _Pointers(Pointer(prefixes=["s3://b/in/"]), config.Limits())
    for url in ("".join(pieces), "s3://b/in/" + "".join(pieces), "s3://b/in" + "".join(pieces)):
        try:
            allowed = pointers._allowed(url.encode())
        except RejectRecord:
            continue
        key = allowed.removeprefix("s3://b/")
        for form in (key, unquote(key)):
            assert os.path.normpath(f"/{form}").startswith("/in"), allowed
            assert ".." not in form.split("/"), allowed
