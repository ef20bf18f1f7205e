"""The setting ``after``: the action on an object that is committed."""

from __future__ import annotations

from collections.abc import Callable

from stream_infer import crash
from stream_infer.connectors.files.settings import FilesSettings, Move
from stream_infer.connectors.storage.opening import open_store
from stream_infer.connectors.storage.store import Store
from stream_infer.errors import ConfigError, Lost

Action = Callable[[tuple[str, str]], None]


def after_action(settings: FilesSettings, store: Store) -> Action | None:
    """The action on (key, version) of a committed object; None for ``after: keep``. Idempotent; raises Retryable.

    An object that has another version by now stays: that version is new input.
    """
    if settings.after == "keep":
        return None
    if settings.after == "delete":
        return lambda item: _delete(store, item)
    target = open_store(settings.after.move, settings.storage)
    return lambda item: _move(store, target, item)


def archive_prefix(settings: FilesSettings, store: Store) -> str | None:
    """The key prefix of moved objects if it lies inside the source, so that they are no input again; else None.

    Raises:
        ConfigError: the objects would be moved to where they are.
    """
    if not isinstance(settings.after, Move):
        return None
    target = open_store(settings.after.move, settings.storage)
    if (target.scheme, target.bucket) != (store.scheme, store.bucket):
        return None
    if target.root == store.root:
        raise ConfigError(f"{settings.name}.after.move is the source's own url; write another folder, such as done/")
    inside = not store.root or target.root.startswith(f"{store.root}/")
    return f"{target.root}/" if inside else None


def _delete(store: Store, item: tuple[str, str]) -> None:
    store.delete(*item)


def _move(store: Store, target: Store, item: tuple[str, str]) -> None:
    key, version = item
    relative = key.removeprefix(f"{store.root}/") if store.root else key
    target_key = f"{target.root}/{relative}" if target.root else relative
    try:
        # The read is pinned to the version: a copy by key could move a version that was never committed.
        target.put(target_key, bytes(store.get(key, version)))
    except Lost:
        return
    crash.point("after.moved")
    store.delete(key, version)
