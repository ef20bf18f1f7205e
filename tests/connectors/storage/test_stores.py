"""Every kind of store keeps the same promises: create once, read pinned, list exactly, fail in words."""

from __future__ import annotations

import os
import pickle
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_infer.config import Storage
from stream_infer.connectors.storage.opening import open_store
from stream_infer.connectors.storage.store import Store
from stream_infer.errors import ConfigError, Lost, RejectRecord, Retryable

KINDS = ["file", "memory", "s3"]
AWKWARD = ["p%20q", "h#x", "q?x", "pl+us", "sp ace", "ünï", "100%", "b[c]*~", "back\\s", "trail ", "a:b@c;d=e&f"]


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store of the kind asked for, with a root of its own, as a worker would get it."""
    kind = request.param
    if kind == "file":
        store = open_store(f"{tmp_path}/root", Storage())
    elif kind == "memory":
        store = open_store(f"memory://{uuid.uuid4().hex}/root", Storage())
    else:
        bucket: Callable[[], str] = request.getfixturevalue("s3_bucket")
        store = open_store(f"s3://{bucket()}/root/", request.getfixturevalue("s3"))
    copied: Store = pickle.loads(pickle.dumps(store))
    return copied


each_kind = pytest.mark.parametrize("store", KINDS, indirect=True)


@each_kind
def test_awkward_keys_come_back_as_they_are(store: Store) -> None:
    keys = {f"{store.root}/{key}" for key in [*AWKWARD, "deep/" + "/".join(["n" * 100] * 7)]}
    if store.scheme == "s3":
        keys |= {f"{store.root}/tab\there", f"{store.root}/del\x7fete"}  # obstore refuses these two
    for key in keys:
        assert store.create(key, key.encode())
    listed = list(store.list(f"{store.root}/"))
    assert {item.key for item in listed} == keys
    assert len(listed) == len(keys)
    for item in listed:
        assert store.get(item.key, item.version) == item.key.encode()
        assert store.get_range(item.key, 1, 3, item.version) == item.key.encode()[1:3]
        assert store.head(item.key) == item


@each_kind
def test_sixteen_writers_have_one_winner(store: Store) -> None:
    key = f"{store.root}/date=2026-01-01/one"
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda number: store.create(key, b"%d" % number), range(16)))
    assert sum(won) == 1
    assert store.get(key) == b"%d" % won.index(True)
    assert [item.key for item in store.list(f"{store.root}/")] == [key]


@each_kind
def test_another_version_is_neither_read_nor_deleted(store: Store) -> None:
    key = f"{store.root}/a"
    store.put(key, b"old")
    old = store.head(key)
    assert old is not None
    store.put(key, b"newer")
    for read in (lambda: store.get(key, old.version), lambda: store.get_range(key, 0, 1, old.version)):
        with pytest.raises(Lost) as caught:
            read()
        assert caught.value.reason == "superseded"
    assert not store.delete(key, old.version)
    assert store.get(key) == b"newer"
    new = store.head(key)
    assert new is not None
    assert store.delete(key, new.version)
    assert not store.delete(key, new.version)
    assert store.head(key) is None
    with pytest.raises(Lost) as caught:
        store.get(key, new.version)
    assert caught.value.reason == "deleted"


@each_kind
def test_copies_and_partial_prefixes(store: Store) -> None:
    store.put(f"{store.root}/part-1", b"x")
    store.copy(f"{store.root}/part-1", f"{store.root}/sub/part-2")
    with pytest.raises(Lost):
        store.copy(f"{store.root}/nothing", f"{store.root}/other")
    assert [item.key for item in store.list(f"{store.root}/par")] == [f"{store.root}/part-1"]
    assert list(store.list(f"{store.root}/none/")) == []
    assert len(list(store.list(f"{store.root}/"))) == 2


@pytest.mark.parametrize("change", [{"access_key_id": "stranger"}, {"endpoint_url": "http://127.0.0.1:9"}, {}])
def test_no_failure_of_a_store_loses_a_record(
    s3: Storage, s3_bucket: Callable[[], str], change: dict[str, str]
) -> None:
    bucket = s3_bucket() if change else "no-such-bucket"
    store = open_store(f"s3://{bucket}/in/", s3.model_copy(update=change))
    calls: list[Callable[[], object]] = [
        lambda: store.get("in/a", "v"),
        lambda: store.head("in/a"),
        lambda: list(store.list("in/")),
        lambda: store.create("in/a", b""),
        lambda: store.delete("in/a", "v"),
    ]
    for call in calls:
        with pytest.raises(Retryable) as caught:
            call()
        assert bucket in str(caught.value)
        assert "\n" not in str(caught.value)
        assert str(s3.secret_access_key) not in str(caught.value)


def test_local_listings_leave_out_what_is_not_whole(tmp_path: Path) -> None:
    for name in ("good.txt", ".hidden", "x.tmp", "x.part", ".git/config", "sub/also.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    store = open_store(str(tmp_path), Storage())
    assert [Path(item.key).name for item in store.list(f"{store.root}/")] == ["good.txt", "also.txt"]


def test_a_failed_local_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(str(tmp_path), Storage())

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Retryable, match="No space left"):
        store.create(f"{store.root}/a", b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_not_utf8_can_be_read(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"x")
    store = open_store(str(tmp_path), Storage())
    (item,) = store.list(f"{store.root}/")
    assert item.key.encode()  # printable, storable
    assert store.get(item.key, item.version) == b"x"


def test_no_key_climbs_out(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), Storage())
    with pytest.raises(RejectRecord):
        store.get(f"{store.root}/../../etc/passwd")


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("file:///a%20b/c", "a b/c"),
        ("file:///a?b#c%25", "a?b#c%"),
        ("/a%20b/", "a%20b"),
        ("/a/x/../b", "a/b"),
        ("file:///a/../b/", "b"),
        ("s3://bucket/in/x y/", "in/x y"),
        ("s3://bucket", ""),
    ],
)
def test_roots(url: str, root: str) -> None:
    assert open_store(url, Storage()).root == root


def test_relative_paths_start_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_store("../here", Storage()).root == str(tmp_path.parent / "here").strip("/")


@pytest.mark.parametrize("url", ["s3://", "nonsense://host/x"])
def test_urls_that_nothing_can_open(url: str) -> None:
    with pytest.raises(ConfigError):
        open_store(url, Storage())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=60))
def test_any_local_name_comes_back_as_it_is(tmp_path: Path, name: str) -> None:
    hidden = name.startswith(".") or name.endswith((".tmp", ".part"))
    folder = tmp_path / uuid.uuid4().hex
    store = open_store(str(folder), Storage())
    key = f"{store.root}/{name}"
    if name == ".." or len(name.encode()) > 200:
        return
    if name == ".":
        return
    assert store.create(key, b"x")
    assert [item.key for item in store.list(f"{store.root}/")] == ([] if hidden else [key])
    assert store.get(key) == b"x"
