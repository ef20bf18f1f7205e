"""The pipeline file: pydantic models of its settings. Nothing else reads a setting."""

from __future__ import annotations

from stream_infer.config.loading import load, parse
from stream_infer.config.models import (
    AnyModel,
    Batch,
    ModelSettings,
    PythonModel,
    Replicas,
    Task,
    TorchModel,
    TransformersModel,
)
from stream_infer.config.pipeline import (
    CircuitBreakerLimits,
    Limits,
    ParquetSink,
    PipelineSettings,
    Rejects,
    Serve,
    Telemetry,
)
from stream_infer.config.secrets import Redactor
from stream_infer.config.sources import (
    AnySource,
    Discover,
    Events,
    FilesSource,
    Format,
    KafkaEvents,
    KafkaSource,
    Move,
    Pointer,
    SourceSettings,
    SqsEvents,
)
from stream_infer.config.values import Bytes, Seconds, Settings, Storage

__all__ = [
    "AnyModel",
    "AnySource",
    "Batch",
    "Bytes",
    "CircuitBreakerLimits",
    "Discover",
    "Events",
    "FilesSource",
    "Format",
    "KafkaEvents",
    "KafkaSource",
    "Limits",
    "ModelSettings",
    "Move",
    "ParquetSink",
    "PipelineSettings",
    "Pointer",
    "PythonModel",
    "Redactor",
    "Rejects",
    "Replicas",
    "Seconds",
    "Serve",
    "Settings",
    "SourceSettings",
    "SqsEvents",
    "Storage",
    "Task",
    "Telemetry",
    "TorchModel",
    "TransformersModel",
    "load",
    "parse",
]
