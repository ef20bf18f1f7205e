"""The kinds of models that come with this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_infer.models.settings import PythonModel, TorchModel, TransformersModel
from stream_infer.plugins import Plugin

if TYPE_CHECKING:
    from stream_infer.contracts import Model


def _transformers(settings: TransformersModel) -> Model:
    if settings.task.startswith("image-"):
        from stream_infer.models.transformers_image import ImageModel

        return ImageModel(settings)
    from stream_infer.models.transformers_text import TextModel

    return TextModel(settings)


def _torch(settings: TorchModel) -> Model:
    from stream_infer.models.torch_model import ModuleModel

    return ModuleModel(settings)


def _python(settings: PythonModel) -> Model:
    from stream_infer.models.python_model import UserModel

    return UserModel(settings)


_EXTRA = "stream-infer[transformers]"
TRANSFORMERS = Plugin(TransformersModel, _transformers, requires=("torch", "transformers"), extra=_EXTRA)
TORCH = Plugin(TorchModel, _torch, requires=("torch", "safetensors"), extra=_EXTRA)
PYTHON = Plugin(PythonModel, _python)
