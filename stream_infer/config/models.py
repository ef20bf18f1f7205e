"""Settings that every model has: its micro-batches, its replicas and their devices."""

from __future__ import annotations

from typing import Any

from pydantic import Field, JsonValue, model_validator

from stream_infer.config.values import Settings

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
    """Base of the settings of a model. A subclass gives ``kind`` one literal and adds its own fields."""

    kind: str = Field(description="kind of the model")
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

    @property
    def shown_name(self) -> str:
        """Name of the model, as its identity begins. Touches no file of the model."""
        return self.kind

    @property
    def cheap(self) -> bool:
        """Whether a record costs the model little time, so that it may share an actor with reading and writing."""
        return False
