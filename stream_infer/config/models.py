"""The model: which, how its micro-batches are cut, and how many actors run it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from stream_infer.config.values import Seconds, Settings

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


class Batch(Settings):
    """Micro-batches of the infer stage, cut by cost."""

    tokens: int | None = Field(
        default=None,
        gt=0,
        description="cost budget of one micro-batch (tokens, image patches, …); default: 16384 on a GPU, 4096 on CPUs",
    )
    rows: int = Field(default=256, gt=0)
    wait: Seconds = 0.02


class Replicas(Settings):
    """How many infer actors run."""

    min: int = Field(default=1, ge=1)
    max: int | None = Field(default=None, ge=1, description="default: as many as the CPUs or GPUs allow")

    @model_validator(mode="after")
    def _ordered(self) -> Replicas:
        if self.max is not None and self.max < self.min:
            raise ValueError(f"max ({self.max}) is below min ({self.min}); write max: {self.min} or more")
        return self


class ModelSettings(Settings):
    """What every model has."""

    input: str | None = Field(default=None, description="content column the model reads; default text, image or bytes")
    batch: Batch = Batch()
    replicas: Replicas = Replicas()
    gpus: float = Field(default=0, ge=0)
    cpus: float | None = Field(default=None, gt=0, description="CPUs per infer actor; left out: its share of them all")
    options: dict[str, Any] = Field(default_factory=dict, description="passed to the model: labels, max_length, …")


class TransformersModel(ModelSettings):
    """A Hugging Face model, from a folder or the hub; safetensors only."""

    kind: Literal["transformers"]
    task: Task
    path: str
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    trust_remote_code: bool = False


class TorchModel(ModelSettings):
    """A torch module of one's own with safetensors weights."""

    kind: Literal["torch"]
    python: str = Field(pattern=r"^[\w.]+:[\w.]+$", description="package.module:Class, a torch.nn.Module")
    weights: str
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"


class PythonModel(ModelSettings):
    """Any class with infer(); load(), prepare() and cost() where it wants them."""

    kind: Literal["python"]
    python: str = Field(pattern=r"^[\w.]+:[\w.]+$", description="package.module:Class")


AnyModel = Annotated[TransformersModel | TorchModel | PythonModel, Field(discriminator="kind")]
