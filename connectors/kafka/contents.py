"""What a message's value holds: one record each, in the source's format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol
from urllib.parse import unquote

import pyarrow as pa

from stream_infer import config
from stream_infer.connectors.kafka.settings import KafkaSettings, Pointer
from stream_infer.connectors.storage.opening import open_store
from stream_infer.connectors.storage.store import Store, possible
from stream_infer.decode.decoder import Decoder
from stream_infer.decode.jsonl import parse_object, to_table
from stream_infer.errors import Lost, RejectRecord
from stream_infer.records import Content

Failures = list[tuple[int, RejectRecord]]
DecodedValues = tuple[pa.Table, Sequence[int], Failures]


class Contents(Protocol):
    """Decodes many values at once."""

    def decode(self, values: Sequence[bytes]) -> DecodedValues:
        """Content columns, the indices of the values they came from, and the values that are no record."""
        ...


def build_contents(settings: KafkaSettings, limits: config.Limits) -> Contents:
    """The decoder of a source's format."""
    if settings.format.kind == "pointer" and settings.pointer is not None:
        return _Each(_Pointers(settings.pointer, limits))
    if settings.format.kind in _TOGETHER:
        return _TOGETHER[settings.format.kind]()
    decoder = Decoder(settings.format, limits)
    return _Each(lambda value: _one_row(decoder, value, "message"))


class _Text:
    def decode(self, values: Sequence[bytes]) -> DecodedValues:
        try:
            column = pa.array(values, pa.binary()).cast(pa.string())
        except pa.ArrowInvalid:
            return self._one_by_one(values)
        return pa.table({"text": column}), range(len(values)), []

    def _one_by_one(self, values: Sequence[bytes]) -> DecodedValues:
        texts, rows, failures = [], [], []
        for row, value in enumerate(values):
            try:
                texts.append(value.decode("utf-8"))
                rows.append(row)
            except UnicodeDecodeError as error:
                failures.append((row, RejectRecord(f"not UTF-8 at byte {error.start}", reason="decode")))
        return pa.table({"text": pa.array(texts, pa.string())}), rows, failures


class _Binary:
    def decode(self, values: Sequence[bytes]) -> DecodedValues:
        return pa.table({"bytes": pa.array(values, pa.large_binary())}), range(len(values)), []


class _Json:
    def decode(self, values: Sequence[bytes]) -> DecodedValues:
        documents, rows, failures = [], [], []
        for row, value in enumerate(values):
            try:
                documents.append(parse_object(value))
                rows.append(row)
            except ValueError as error:
                failures.append((row, RejectRecord(str(error), reason="decode")))
        return to_table(documents), rows, failures


# Formats whose values are decoded faster together than one by one.
_TOGETHER: Final[Mapping[str, type[Contents]]] = {"text": _Text, "binary": _Binary, "jsonl": _Json}


class _Each:
    """One value after the other, for formats whose decoding costs more than the call."""

    def __init__(self, one: Callable[[bytes], pa.Table]) -> None:
        self._one = one

    def decode(self, values: Sequence[bytes]) -> DecodedValues:
        tables, rows, failures = [], [], []
        for row, value in enumerate(values):
            try:
                tables.append(self._one(value))
                rows.append(row)
            except RejectRecord as error:
                failures.append((row, error))
        merged = pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})
        return merged, rows, failures


class _Pointers:
    """Claim checks: the value names an object, which must lie under an allowed prefix."""

    def __init__(self, settings: Pointer, limits: config.Limits) -> None:
        self._settings = settings
        self._most_bytes = limits.record_bytes
        self._decoder = Decoder(settings.format, limits)
        self._stores: dict[str, Store] = {}
        # "in" must not allow "inner": what is allowed is a folder
        self._allowed_folders = tuple(f"{prefix.rstrip('/')}/" for prefix in settings.prefixes)

    def __call__(self, value: bytes) -> pa.Table:
        url = self._allowed(value)
        scheme, separator, rest = url.partition("://") if "://" in url else ("", "", url)
        bucket, _, key = rest.partition("/")
        if not possible(key):
            raise RejectRecord("the pointer names no object that a store can hold", reason="pointer")
        root = f"{scheme}{separator}{bucket}/"
        store = self._stores.get(root)
        if store is None:
            store = self._stores[root] = open_store(root, self._settings.storage)
        try:
            item = store.head(key)
            if item is not None and item.size > self._most_bytes:
                raise RejectRecord(f"{url}: {item.size} bytes are more than limits.record_bytes", reason="too_large")
            content = store.get(key)
        except Lost as error:
            raise RejectRecord(str(error), reason="pointer") from None
        return _one_row(self._decoder, content, key)

    def _allowed(self, value: bytes) -> str:
        try:
            url = value.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise RejectRecord("the pointer is not UTF-8", reason="pointer") from None
        # "..", encoded or not, could lead out of an allowed folder
        if not url.startswith(self._allowed_folders) or ".." in unquote(url).split("/"):
            raise RejectRecord("the pointer names nothing under pointer.prefixes", reason="pointer")
        return url


def _one_row(decoder: Decoder, content: Content, name: str) -> pa.Table:
    tables = []
    for decoded in decoder.decode(content, name):
        if decoded.rejects:
            raise RejectRecord(decoded.rejects[0].reason, reason="decode")
        tables.append(decoded.table)
    table = pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})
    if table.num_rows != 1:
        raise RejectRecord(f"holds {table.num_rows} records; a message can stand for one", reason="decode")
    return table
