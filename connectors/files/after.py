"""What happens to an object once the ledger says that it is committed."""

from __future__ import annotations

from collections.abc import Callable

from stream_infer import crash
from stream_infer.connectors.files.settings import FilesSettings, Move
from stream_infer.connectors.storage.opening import open_store
from stream_infer.connectors.storage.store import Store
from stream_infer.errors import ConfigError, Lost

Action = Callable[[tuple[str, str]], None]


def after_action(settings: FilesSettings, store: Store) -> Action | None:
    """The action of the setting ``after`` on (key, version); None to keep. Idempotent; raises Retryable.

    A key that holds another version by now is left alone: that version is new work.
    """
    if settings.after == "keep":
        return None
    if settings.after == "delete":
        return lambda item: _delete(store, item)
    target = open_store(settings.after.move, settings.storage)
    return lambda item: _move(store, target, item)


def archive_prefix(settings: FilesSettings, store: Store) -> str | None:
    """Where ``after: move`` puts objects if that lies inside the source: they are not input again. None elsewhere.

    Raises:
        ConfigError: the objects would be moved onto themselves.
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
        # The content is read pinned: copying by key could move a version that was never committed.
        target.put(target_key, bytes(store.get(key, version)))
    except Lost:
        return
    crash.point("after.moved")
    store.delete(key, version)
