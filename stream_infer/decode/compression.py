"""Decompression of gzip and zstd by suffix, with a limit on the size of the result."""

from __future__ import annotations

import gzip
import io
import zlib

import zstandard

from stream_infer.errors import RejectRecord
from stream_infer.records import Content


def inflated(content: Content, name: str, most: int) -> Content:
    """The content, decompressed if the name ends in ``.gz`` or ``.zst``.

    Raises:
        RejectRecord: it is damaged, or the result would exceed ``most`` bytes (decompression stops there).
    """
    suffix = name.lower().rsplit(".", 1)[-1]
    try:
        result: Content
        if suffix == "gz":
            with gzip.open(io.BytesIO(content)) as stream:
                result = stream.read(most + 1)
        elif suffix == "zst":
            # one object may hold several frames, as `cat a.zst b.zst` makes them
            reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content), read_across_frames=True)
            result = reader.read(most + 1)
            if len(result) <= most and not _complete_zstd(content):
                raise RejectRecord("the zstd stream ends too early", reason="decode")
        else:
            result = content
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise RejectRecord(f"cannot be decompressed: {error}", reason="decode") from None
    if len(result) > most:
        raise RejectRecord(f"more than limits.record_bytes ({most} bytes) when decompressed", reason="too_large")
    return result


def _complete_zstd(content: Content) -> bool:
    """Whether the last frame is whole: the stream reader takes a cut one for an end of file."""
    rest = content
    while rest:
        decompressor = zstandard.ZstdDecompressor().decompressobj()
        decompressor.decompress(rest)
        if not decompressor.eof:
            return False
        rest = decompressor.unused_data
    return True
