"""Settings of the models that come with this package."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field

from stream_infer.config.models import ModelSettings

Task = Literal[
    "feature-extraction",
    "text-classification",
    "token-classification",
    "zero-shot-classification",
    "fill-mask",
    "text-generation",
    "image-classification",
    "image-feature-extraction",
]
DType = Literal["auto", "float32", "bfloat16", "float16"]


class TransformersModel(ModelSettings):
    """A Hugging Face model, from a folder or the hub; safetensors only."""

    kind: Literal["transformers"] = Field(description="a Hugging Face model")
    task: Task = Field(description="task of the model, by the hub's name for it")
    path: str = Field(description="folder or hub id of the model")
    revision: str | None = Field(default=None, description="commit, tag or branch of a hub id; left out: main")
    dtype: DType = Field(
        default="auto",
        description="type of the weights in memory; auto: bfloat16 (float16 on older GPUs) on a GPU, float32 on CPUs",
    )
    trust_remote_code: bool = Field(default=False, description="run Python code that comes with the model")

    @property
    def shown_name(self) -> str:
        """The folder's, the package's or the hub's name of the model."""
        if self.path.startswith("package:"):
            return re.split(r"[:/]", self.path)[1]
        folder = Path(self.path).expanduser()
        return folder.absolute().name if folder.is_dir() else self.path


class TorchModel(ModelSettings):
    """A torch module of one's own with safetensors weights."""

    kind: Literal["torch"] = Field(description="a torch module of one's own")
    python: str = Field(pattern=r"^[\w.]+:[\w.]+$", description="package.module:Class, a torch.nn.Module")
    weights: str = Field(description="file of the weights (safetensors)")
    dtype: DType = Field(
        default="auto",
        description="type of the weights in memory; auto: bfloat16 (float16 on older GPUs) on a GPU, float32 on CPUs",
    )

    @property
    def shown_name(self) -> str:
        """The class's name."""
        return re.split(r"[:.]", self.python)[-1]


class PythonModel(ModelSettings):
    """Any class with infer(); load(), prepare() and cost() where it wants them."""

    kind: Literal["python"] = Field(description="a class of one's own")
    python: str = Field(pattern=r"^[\w.]+:[\w.]+$", description="package.module:Class")

    @property
    def cheap(self) -> bool:
        """True: a class of one's own holds no weights that the pipeline knows of."""
        return True

    @property
    def shown_name(self) -> str:
        """The class's name."""
        return re.split(r"[:.]", self.python)[-1]
