"""Text and bytes: the whole object is one record."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from stream_infer.decode.base import Decoded, one_cell
from stream_infer.errors import RejectRecord
from stream_infer.records import Content

BOM = b"\xef\xbb\xbf"


def unmarked(content: Content) -> Content:
    """The content without a byte order mark."""
    return content[len(BOM) :] if content[: len(BOM)] == BOM else content


def to_text(content: Content) -> str:
    """UTF-8 text, without a byte order mark. Raises RejectRecord."""
    try:
        return str(unmarked(content), "utf-8")
    except UnicodeDecodeError as error:
        raise RejectRecord(f"not UTF-8 text at byte {error.start}", reason="decode") from None


def decode_text(content: Content) -> Iterator[Decoded]:
    """Decode UTF-8 text to one record with column ``text``."""
    yield Decoded(pa.table({"text": pa.array([to_text(content)], pa.string())}), range(1))


def decode_binary(content: Content) -> Iterator[Decoded]:
    """Decode bytes to one record with column ``bytes``, without a copy."""
    yield Decoded(pa.table({"bytes": one_cell(pa.py_buffer(content))}), range(1))
