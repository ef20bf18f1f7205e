"""Bodies of objects: whole, of every size, in parts where they are large."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from types import SimpleNamespace

import obstore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_infer import config
from stream_infer.connectors.storage import bodies, objects
from stream_infer.connectors.storage.opening import open_store
from stream_infer.connectors.storage.store import Store
from stream_infer.errors import Lost
from stream_infer.ops.parts import S3Server, start_s3


def _answer(size: int, chunks: list[bytes]) -> SimpleNamespace:
    return SimpleNamespace(range=(0, size), stream=lambda min_chunk_size: iter(chunks), bytes=lambda: b"".join(chunks))


@given(st.lists(st.binary(max_size=200), max_size=20), st.integers(-50, 50))
def test_a_body_is_whole_or_refused(chunks: list[bytes], more: int) -> None:
    size = len(b"".join(chunks)) + more
    if size < 0:
        return
    with pytest.MonkeyPatch.context() as patch:
        for pooled in (0, 2**20):
            patch.setattr(bodies, "_POOLED", pooled)
            if more:
                with pytest.raises(ValueError, match="bytes came"):
                    bodies.body(_answer(size, chunks))
            else:
                assert bytes(bodies.body(_answer(size, chunks))) == b"".join(chunks)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with start_s3(tmp_path_factory.mktemp("s3")) as server:
        server.client().create_bucket(Bucket="bucket")
        yield server


@pytest.fixture
def store(server: S3Server) -> Store:
    return open_store("s3://bucket/", config.Storage(**server.storage()))


@pytest.mark.parametrize("fast", [0, float("inf")])
@pytest.mark.parametrize("size", [0, 1, 300_000, 1_048_576, 1_048_577, 5_000_000])
def test_a_large_object_comes_whole_or_in_parts_and_is_the_one_that_was_planned(
    server: S3Server, store: Store, monkeypatch: pytest.MonkeyPatch, size: int, fast: float
) -> None:
    monkeypatch.setattr(objects, "_PART", 2**20)
    monkeypatch.setattr(objects, "_FAST", fast)
    content = hashlib.shake_128(b"x").digest(size)
    server.client().put_object(Bucket="bucket", Key="large", Body=content)
    item = store.head("large")
    assert item is not None
    assert bytes(store.get("large", item.version, item.size)) == content
    assert bytes(store.get("large", item.version)) == content
    server.client().put_object(Bucket="bucket", Key="large", Body=content + b"!")
    with pytest.raises(Lost, match="replaced"):
        store.get("large", item.version, item.size)
    server.client().delete_object(Bucket="bucket", Key="large")
    with pytest.raises(Lost, match="not there"):
        store.get("large", item.version, item.size)


def test_only_a_store_whose_connections_are_slow_is_asked_for_parts(
    server: S3Server, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = hashlib.shake_128(b"y").digest(5_000_000)
    server.client().put_object(Bucket="bucket", Key="large", Body=content)
    item = store.head("large")
    assert item is not None
    asked: list[bool] = []

    def get(client: object, key: str, *, options: dict[str, object]) -> object:
        asked.append("range" in options)
        return obstore_get(client, key, options=options)

    obstore_get = obstore.get
    monkeypatch.setattr(obstore, "get", get)
    monkeypatch.setattr(objects, "_PART", 2**20)
    whole, parts = [False], [True] * 5
    for fast, wanted in [(0, whole), (0, whole), (float("inf"), [False, *parts[1:]]), (0, parts)]:
        monkeypatch.setattr(objects, "_FAST", fast)
        assert bytes(store.get("large", item.version, item.size)) == content
        assert asked == wanted
        asked.clear()
    for _ in range(objects._TRY_AGAIN - 2):
        store.get("large", item.version, item.size)
    asked.clear()
    store.get("large", item.version, item.size)
    assert asked == whole, "a store that has become fast is noticed"
