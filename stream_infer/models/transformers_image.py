"""Hugging Face models for images, which are decoded and resized on CPUs and normalised on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from stream_infer.decode.image import to_array
from stream_infer.errors import ConfigError, Fatal
from stream_infer.models.answers import top_class
from stream_infer.models.base import input_column, to_arrow, to_device, unknown_options
from stream_infer.models.batching import BatchedModel
from stream_infer.models.model_folder import ModelFolder
from stream_infer.models.padding import one_array
from stream_infer.models.settings import TransformersModel

PIXELS, SHAPE = "__pixels", "__pixel_shape"
_PATCH = 16


class ImageModel(BatchedModel):
    """image-classification (``label``, ``score``) and image-feature-extraction (``embedding``).

    The input column (``model.input``, else ``image``, else ``bytes``) has images, decoded or still encoded. `prepare` adds
    ``__pixels`` (large_list<uint8>, or float32 for processors whose normalisation cannot be done on the device) and
    ``__pixel_shape`` (channels, height, width). The cost of a row is its number of patches of 16 by 16 pixels.

    Raises:
        ConfigError: no such folder, no safetensors weights, or an option that the task does not have.
    """

    _transient = ("_processor", "_module", "_affine")

    def __init__(self, settings: TransformersModel) -> None:
        self._folder = ModelFolder(settings)
        self._settings = settings
        self._embeds = settings.task == "image-feature-extraction"
        unknown_options(settings.options, ("normalize",) if self._embeds else (), settings.task)
        self._processor: Any = None
        self._affine: tuple[np.ndarray, np.ndarray] | None = None
        self._module: Any = None
        self._pooled = True

    @property
    def identity(self) -> str:
        """``name@digest`` of files, task, options and dtype. Reads the weights once a process."""
        return self._folder.identity

    @property
    def weights(self) -> int | None:
        """Bytes of the safetensors files, None before they are fetched."""
        return self._folder.weights

    @property
    def reads(self) -> frozenset[str]:
        """``__pixels`` and ``__pixel_shape``."""
        return frozenset({PIXELS, SHAPE})

    def prepare(self, records: pa.Table) -> pa.Table:
        """The records with their pixels. Raises RejectRecord for null, and for bytes that are no image."""
        names = records.column_names
        default = "bytes" if "image" not in names and "bytes" in names else "image"
        column = input_column(records, self._settings.input or default, self._folder.name)
        pictures = [self._pixels(cell) for cell in column]
        kind = pa.uint8() if self._raw() is not None else pa.float32()
        offsets = np.cumsum([0, *(picture.size for picture in pictures)])
        flat = np.concatenate([np.empty(0, kind.to_pandas_dtype()), *(picture.reshape(-1) for picture in pictures)])
        pixels = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pa.array(flat, kind))
        shapes = pa.array([picture.shape for picture in pictures], pa.list_(pa.int32(), 3))
        return records.append_column(PIXELS, pixels).append_column(SHAPE, shapes)

    def warm(self) -> None:
        """Load the image processor."""
        self._loaded_processor()

    def load(self, devices: Sequence[str]) -> None:
        """Load the weights onto the first device.

        Raises:
            ConfigError: the folder lacks weights that the task needs.
        """
        super().load(devices)
        auto = "AutoModel" if self._embeds else "AutoModelForImageClassification"
        self._module, missing = self._folder.module(auto, self._device, ("pooler",) if self._embeds else ())
        self._pooled = not missing  # a pooler without weights is random; the class token is used instead

    def cost(self, prepared: pa.Table) -> np.ndarray:
        """Patches per row, shape (rows,)."""
        shapes = self._shapes(prepared)
        return np.asarray(np.ceil(shapes[:, 1] / _PATCH) * np.ceil(shapes[:, 2] / _PATCH), dtype=np.float64)

    def infer(self, batch: pa.Table) -> pa.Table:
        """The task's columns."""
        import torch

        if self._module is None:
            raise Fatal(f"{self._folder.name}: infer() was called before load()")
        shapes = self._shapes(batch)
        if len(np.unique(shapes, axis=0)) > 1:
            raise ValueError(
                "the images of one batch differ in shape"
            )  # each half is tried again, down to images of one shape
        flat = one_array(batch.column(PIXELS)).flatten().to_numpy(zero_copy_only=False)
        with torch.inference_mode():
            pixels = self._normalised(to_device(flat.reshape(len(shapes), *shapes[0]), self._device))
            pixels = pixels.to(self._module.dtype)
            if not self._embeds:
                return pa.table(top_class(self._module(pixel_values=pixels).logits, self._module.config))
            return pa.table({"embedding": to_arrow(self._embedding(pixels))})

    def _embedding(self, pixels: Any) -> Any:
        import torch

        if hasattr(self._module, "get_image_features"):
            answer = self._module.get_image_features(pixel_values=pixels)
            pooled = getattr(answer, "pooler_output", answer)
        else:
            answer = self._module(pixel_values=pixels)
            pooled = getattr(answer, "pooler_output", None) if self._pooled else None
            if pooled is None:
                hidden = answer.last_hidden_state
                pooled = hidden[:, 0] if hidden.ndim == 3 else hidden.mean((-2, -1))
        pooled = pooled.float().flatten(1)
        return torch.nn.functional.normalize(pooled, dim=1) if self._settings.options.get("normalize", True) else pooled

    def _normalised(self, pixels: Any) -> Any:
        import torch

        if pixels.dtype != torch.uint8:
            return pixels
        affine = self._raw()
        if affine is None:
            raise Fatal(f"{self._folder.name}: its images were prepared by other code; prepare them again")
        scale, shift = (to_device(array, self._device) for array in affine)
        return pixels.float().mul_(scale).add_(shift)

    def _pixels(self, cell: pa.Scalar) -> np.ndarray:
        picture = to_array(cell)
        return self._processed(picture, raw=self._raw() is not None)

    def _processed(self, picture: np.ndarray, *, raw: bool) -> np.ndarray:
        arguments: dict[str, Any] = {"do_rescale": False, "do_normalize": False} if raw else {}
        result = self._loaded_processor()(picture, return_tensors="np", input_data_format="channels_last", **arguments)
        pixels = np.asarray(result["pixel_values"])
        if pixels.ndim != 4 or len(pixels) != 1:
            raise ConfigError(
                f"model.path: {self._folder.name} cuts images into several, not supported; use kind: python"
            )
        return np.asarray(pixels[0])

    def _loaded_processor(self) -> Any:
        if self._processor is None:
            self._processor = self._folder.auto("AutoImageProcessor")
        return self._processor

    def _raw(self) -> tuple[np.ndarray, np.ndarray] | None:
        """(scale, shift) per channel that turn resized uint8 pixels into the processor's result; None if there are none.

        Bytes are a quarter of the size of floats on the way to the device. An experiment with a random image decides.
        """
        if self._affine is None:
            self._affine = self._affine_of_processor() or (np.empty(0), np.empty(0))
        return self._affine if self._affine[0].size else None

    def _affine_of_processor(self) -> tuple[np.ndarray, np.ndarray] | None:
        processor = self._loaded_processor()
        picture = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
        full = self._processed(picture, raw=False)
        try:
            raw = self._processed(picture, raw=True)
            factor = float(processor.rescale_factor) if processor.do_rescale else 1.0
            mean = np.asarray(processor.image_mean if processor.do_normalize else 0.0, np.float64).reshape(-1, 1, 1)
            deviation = np.asarray(processor.image_std if processor.do_normalize else 1.0, np.float64).reshape(-1, 1, 1)
        except (AttributeError, TypeError, ValueError):
            return None
        scale, shift = (factor / deviation).astype(np.float32), (-mean / deviation).astype(np.float32)
        same = raw.dtype == np.uint8 and raw.shape == full.shape and np.allclose(raw * scale + shift, full, atol=1e-5)
        return (scale, shift) if same else None

    @staticmethod
    def _shapes(table: pa.Table) -> np.ndarray:
        flat = one_array(table.column(SHAPE)).flatten().to_numpy()
        return np.asarray(flat, dtype=np.int64).reshape(-1, 3)
