"""Models: a folder or hub id of Hugging Face, a torch module, or any class."""

from __future__ import annotations

import re
from pathlib import Path

from stream_infer.config import PythonModel, TorchModel, TransformersModel
from stream_infer.contracts import Model
from stream_infer.models.batching import Inferred, run_batched

__all__ = ["Inferred", "build_model", "model_name", "run_batched"]


def build_model(settings: TransformersModel | TorchModel | PythonModel) -> Model:
    """The model of the settings: picklable, checked as far as can be without its weights, not yet loaded.

    Raises:
        ConfigError: a folder, file, class or option is not there.
    """
    if isinstance(settings, PythonModel):
        from stream_infer.models.python_model import UserModel

        return UserModel(settings)
    if isinstance(settings, TorchModel):
        from stream_infer.models.torch_model import ModuleModel

        return ModuleModel(settings)
    if settings.task.startswith("image-"):
        from stream_infer.models.transformers_image import ImageModel

        return ImageModel(settings)
    from stream_infer.models.transformers_text import TextModel

    return TextModel(settings)


def model_name(settings: TransformersModel | TorchModel | PythonModel) -> str:
    """The model's name as `Model.identity` begins; touches no file of the model."""
    if not isinstance(settings, TransformersModel):
        return re.split(r"[:.]", settings.python)[-1]
    if settings.path.startswith("package:"):
        return re.split(r"[:/]", settings.path)[1]
    folder = Path(settings.path).expanduser()
    return folder.absolute().name if folder.is_dir() else settings.path
