"""Images: decoded to RGB on the CPU."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from PIL import Image, ImageOps

from stream_infer.config import Limits
from stream_infer.decode.base import Decoded, one_cell
from stream_infer.errors import RejectRecord
from stream_infer.records import Content

# A closed list: other decoders of Pillow run programs (EPS) or are seldom maintained.
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
IMAGE = pa.struct([("shape", pa.list_(pa.int32(), 3)), ("data", pa.large_binary())])


def decode(content: Content, limits: Limits) -> Iterator[Decoded]:
    """Decode an image to one record with column ``image``: ``shape`` (height, width, 3) and ``data``, its uint8 values."""
    pixels = np.ascontiguousarray(to_pixels(content, limits.record_bytes))
    data = one_cell(pa.py_buffer(pixels))
    column = pa.StructArray.from_arrays([pa.array([pixels.shape], IMAGE.field("shape").type), data], fields=list(IMAGE))
    yield Decoded(pa.table({"image": column}), range(1))


def to_pixels(content: Content, most: int | None = None) -> np.ndarray:
    """An encoded image as RGB, upright as its EXIF orientation says, shape (height, width, 3), uint8.

    Raises:
        RejectRecord: it cannot be decoded, or would take more than ``most`` bytes.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as for a damaged EXIF block
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
                if most is not None and image.width * image.height * 3 > most:
                    raise RejectRecord(
                        f"{image.width} x {image.height} pixels are more than limits.record_bytes", reason="too_large"
                    )
                ImageOps.exif_transpose(image, in_place=True)  # copies only an image that must be turned
                return np.asarray(image.convert("RGB"))
    except RejectRecord:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise RejectRecord("the image has too many pixels", reason="too_large") from None
    except Exception as error:  # Pillow's plugins raise errors of any class
        raise RejectRecord(
            f"the bytes are no image that can be decoded ({type(error).__name__})", reason="decode"
        ) from None


def to_array(cell: pa.StructScalar | pa.BinaryScalar | pa.LargeBinaryScalar) -> np.ndarray:
    """A cell of an image column, decoded or still encoded, as RGB of shape (height, width, 3), uint8; not copied."""
    if not isinstance(cell, pa.StructScalar):
        return to_pixels(cell.as_py())
    return np.frombuffer(cell["data"].as_buffer(), np.uint8).reshape(cell["shape"].as_py())
