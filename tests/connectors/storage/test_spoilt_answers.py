"""Wrong answers with status 200, as gateways and S3 itself send them at times."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stream_infer import config
from stream_infer.connectors.files.reader import FilesReader
from stream_infer.connectors.storage.opening import open_store
from stream_infer.connectors.storage.store import Store
from stream_infer.decode.decoder import Decoder
from stream_infer.decode.formats import TextOptions
from stream_infer.errors import Retryable
from stream_infer.splits import Split
from tests.chaos.http_proxy import Answer, FaultProxy, error_in_ok, refused, shortened

BODY = b"content " * 100


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    proxy = FaultProxy("http://127.0.0.1:1")
    yield proxy
    proxy.close()


@pytest.fixture
def store(proxy: FaultProxy) -> Store:
    keys = {"access_key_id": "a-key", "secret_access_key": "a-secret", "region": "us-east-1"}
    return open_store("s3://bucket/in/", config.Storage(endpoint_url=proxy.url, **keys))


def _good_answer() -> Answer:
    headers = [("Content-Length", str(len(BODY))), ("ETag", '"v"'), ("Last-Modified", "Tue, 21 Oct 2025 07:28:00 GMT")]
    return Answer(200, headers, BODY)


def test_a_good_answer_is_taken(proxy: FaultProxy, store: Store) -> None:
    with proxy.fault("GET|HEAD", "", instead=_good_answer):
        assert store.get("in/a", "v") == BODY
        head = store.head("in/a")
    assert head is not None
    assert (head.size, head.version) == (len(BODY), "v")


def test_an_error_document_is_not_the_content(proxy: FaultProxy, store: Store) -> None:
    with proxy.fault("GET|HEAD", "", instead=lambda: error_in_ok(_good_answer())):
        for ask in (
            lambda: store.get("in/a", "v"),
            lambda: store.get("in/a"),
            lambda: store.get_range("in/a", 0, 10, "v"),
            lambda: store.head("in/a"),
        ):
            with pytest.raises(Retryable):
                ask()


def test_another_version_s_content_is_not_taken(proxy: FaultProxy, store: Store) -> None:
    """The store ignores If-Match."""
    with proxy.fault("GET", "", instead=_good_answer), pytest.raises(Retryable, match="ETag"):
        store.get("in/a", "another")


def test_half_of_an_object_is_not_the_object(proxy: FaultProxy, store: Store) -> None:
    reader = FilesReader(store, Decoder(TextOptions(), config.Limits()))
    item = {"key": "in/a", "version": "v", "size": len(BODY), "modified": 0.0}
    split = Split.of("s", {"objects": [item]}, folder="", records=1, bytes=1)
    with proxy.fault("GET", "", instead=_good_answer):
        assert [piece.table.num_rows for piece in reader.read(split)] == [1]
    with (
        proxy.fault("GET", "", instead=lambda: shortened(_good_answer())),
        pytest.raises(Retryable, match="of 800 bytes"),
    ):
        list(reader.read(split))


def test_an_error_document_is_no_written_file(proxy: FaultProxy, store: Store) -> None:
    answers = refused(200, "InternalError")
    with proxy.fault("PUT", "", instead=answers):
        with pytest.raises(Retryable):
            store.create("out/a", b"file")
        with pytest.raises(Retryable):
            store.put("done/a", b"moved")
