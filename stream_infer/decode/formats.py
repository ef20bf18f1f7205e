"""The table of the formats that come with this package. Their decoders are imported when the first content is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from stream_infer.config import FormatSettings, Limits
from stream_infer.decode.format import Format

if TYPE_CHECKING:
    from stream_infer.decode.base import Decoded
    from stream_infer.records import Content


class TextOptions(FormatSettings):
    """UTF-8 text: one record with the column text."""

    kind: Literal["text"] = Field(default="text", description="UTF-8 text, one record with the column text")


class BinaryOptions(FormatSettings):
    """Bytes as they are: one record with the column bytes."""

    kind: Literal["binary"] = Field(default="binary", description="bytes as they are, one record with the column bytes")


class JsonLinesOptions(FormatSettings):
    """JSON Lines: a record for each line, its keys as columns."""

    kind: Literal["jsonl"] = Field(default="jsonl", description="JSON Lines, a record for each line")


class CsvOptions(FormatSettings):
    """CSV with a header line: a record for each row, the header's names as columns."""

    kind: Literal["csv"] = Field(default="csv", description="CSV with a header line, a record for each row")


class ParquetOptions(FormatSettings):
    """Parquet: a record for each row, with the file's columns."""

    kind: Literal["parquet"] = Field(default="parquet", description="Parquet, a record for each row")


class ImageOptions(FormatSettings):
    """An image, decoded to RGB: one record with the column image."""

    kind: Literal["image"] = Field(default="image", description="an image, one record with the column image")


def _text(content: Content, _options: TextOptions, _limits: Limits) -> Iterator[Decoded]:
    from stream_infer.decode import text

    return text.decode_text(content)


def _binary(content: Content, _options: BinaryOptions, _limits: Limits) -> Iterator[Decoded]:
    from stream_infer.decode import text

    return text.decode_binary(content)


def _jsonl(content: Content, _options: JsonLinesOptions, _limits: Limits) -> Iterator[Decoded]:
    from stream_infer.decode import jsonl

    return jsonl.decode(content)


def _csv(content: Content, _options: CsvOptions, _limits: Limits) -> Iterator[Decoded]:
    from stream_infer.decode import csv

    return csv.decode(content)


def _parquet(content: Content, _options: ParquetOptions, _limits: Limits) -> Iterator[Decoded]:
    from stream_infer.decode import parquet

    return parquet.decode(content)


def _image(content: Content, _options: ImageOptions, limits: Limits) -> Iterator[Decoded]:
    from stream_infer.decode import image

    return image.decode(content, limits)


_PICTURES = ("png", "jpg", "jpeg", "gif", "webp", "bmp", "tif", "tiff")
TEXT = Format("text", (), "text", True, TextOptions, _text)
BINARY = Format("binary", (), "bytes", True, BinaryOptions, _binary)
JSONL = Format("jsonl", ("json", "jsonl", "ndjson"), None, False, JsonLinesOptions, _jsonl)
CSV = Format("csv", ("csv",), None, False, CsvOptions, _csv)
PARQUET = Format("parquet", ("parquet",), None, False, ParquetOptions, _parquet)
IMAGE = Format("image", _PICTURES, "image", True, ImageOptions, _image)
