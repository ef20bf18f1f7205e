"""The pipeline file: pydantic models of its settings. Nothing else reads a setting.

The settings of a source, a sink or a model live with its code; here are their bases.
"""

from __future__ import annotations

from stream_infer.config.formats import AutoFormat, FormatSettings, OneFormat
from stream_infer.config.loading import load, parse
from stream_infer.config.models import Batch, ModelSettings, Replicas
from stream_infer.config.pipeline import CircuitBreakerLimits, Limits, PipelineSettings, Serve, Telemetry
from stream_infer.config.secrets import Redactor
from stream_infer.config.sinks import Rejects, SinkSettings
from stream_infer.config.sources import SourceSettings
from stream_infer.config.values import Bytes, Seconds, Settings, SizeOrNone, Storage

__all__ = [
    "AutoFormat",
    "Batch",
    "Bytes",
    "CircuitBreakerLimits",
    "FormatSettings",
    "Limits",
    "ModelSettings",
    "OneFormat",
    "PipelineSettings",
    "Redactor",
    "Rejects",
    "Replicas",
    "Seconds",
    "Serve",
    "Settings",
    "SinkSettings",
    "SizeOrNone",
    "SourceSettings",
    "Storage",
    "Telemetry",
    "load",
    "parse",
]
