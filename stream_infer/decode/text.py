"""Objects that are one record: text and bytes."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from stream_infer.config import Limits
from stream_infer.decode.base import Decoded
from stream_infer.errors import RejectRecord

BOM = b"\xef\xbb\xbf"


def to_text(content: bytes) -> str:
    """UTF-8 text, without a byte order mark. Raises RejectRecord."""
    try:
        return content.removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        raise RejectRecord(f"not UTF-8 text at byte {error.start}", reason="decode") from None


def decode_text(content: bytes, _limits: Limits) -> Iterator[Decoded]:
    """One record with column ``text``."""
    yield Decoded(pa.table({"text": pa.array([to_text(content)], pa.string())}), range(1))


def decode_binary(content: bytes, _limits: Limits) -> Iterator[Decoded]:
    """One record with column ``bytes``."""
    yield Decoded(pa.table({"bytes": pa.array([content], pa.large_binary())}), range(1))
