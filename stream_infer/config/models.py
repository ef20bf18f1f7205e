"""The model: which, how its micro-batches are cut, and how many actors run it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, model_validator

from stream_infer.config.values import Settings

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


_ACTORS: dict[str, JsonValue] = {"unit": "actors"}


class Batch(Settings):
    """Micro-batches of the infer stage, cut by cost."""

    tokens: int | None = Field(
        default=None,
        gt=0,
        json_schema_extra={"unit": "cost units"},
        description="cost budget of one micro-batch (tokens, image patches, …); default: 16384 on a GPU, 4096 on CPUs",
    )
    rows: int = Field(default=256, gt=0, json_schema_extra={"unit": "rows"}, description="most rows of one micro-batch")


class Replicas(Settings):
    """How many infer actors run."""

    min: int = Field(default=1, ge=1, json_schema_extra=_ACTORS, description="fewest infer actors")
    max: int | None = Field(
        default=None,
        ge=1,
        json_schema_extra=_ACTORS,
        description="most infer actors; left out: as many as the CPUs or GPUs allow",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Replicas:
        if self.max is not None and self.max < self.min:
            raise ValueError(f"max ({self.max}) is below min ({self.min}); write max: {self.min} or more")
        return self


class ModelSettings(Settings):
    """What every model has."""

    input: str | None = Field(default=None, description="content column the model reads; default text, image or bytes")
    batch: Batch = Field(default=Batch(), description="how micro-batches are cut")
    replicas: Replicas = Field(default=Replicas(), description="how many infer actors run")
    gpus: float = Field(
        default=0,
        ge=0,
        json_schema_extra={"unit": "GPUs"},
        description="GPUs per infer actor; 0: the model runs on CPUs",
    )
    cpus: float | None = Field(
        default=None,
        gt=0,
        json_schema_extra={"unit": "CPUs"},
        description="CPUs per infer actor; left out: its share of them all",
    )
    options: dict[str, Any] = Field(default_factory=dict, description="passed to the model: labels, max_length, …")


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


class TorchModel(ModelSettings):
    """A torch module of one's own with safetensors weights."""

    kind: Literal["torch"] = Field(description="a torch module of one's own")
    python: str = Field(pattern=r"^[\w.]+:[\w.]+$", description="package.module:Class, a torch.nn.Module")
    weights: str = Field(description="file of the weights (safetensors)")
    dtype: DType = Field(
        default="auto",
        description="type of the weights in memory; auto: bfloat16 (float16 on older GPUs) on a GPU, float32 on CPUs",
    )


class PythonModel(ModelSettings):
    """Any class with infer(); load(), prepare() and cost() where it wants them."""

    kind: Literal["python"] = Field(description="a class of one's own")
    python: str = Field(pattern=r"^[\w.]+:[\w.]+$", description="package.module:Class")


AnyModel = Annotated[TransformersModel | TorchModel | PythonModel, Field(discriminator="kind")]
