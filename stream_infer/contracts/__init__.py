"""The seams: contracts of sources, readers, sinks and models. Policies wrap them; nothing registers itself."""

from __future__ import annotations

from stream_infer.contracts.model import (
    Inferred,
    Model,
    TablePreprocessor,
)
from stream_infer.contracts.reader import (
    NO_ROWS,
    ORIGINS,
    ObjectReader,
    Piece,
    Reader,
    joined,
    location_of,
)
from stream_infer.contracts.sink import (
    RejectTarget,
    Sink,
)
from stream_infer.contracts.source import (
    Lag,
    ObjectVersion,
    PartitionStatus,
    PlanBudget,
    Planned,
    Position,
    Restorable,
    Source,
    SourceStatus,
)

__all__ = [
    "NO_ROWS",
    "ORIGINS",
    "Inferred",
    "Lag",
    "Model",
    "ObjectReader",
    "ObjectVersion",
    "PartitionStatus",
    "Piece",
    "PlanBudget",
    "Planned",
    "Position",
    "Reader",
    "RejectTarget",
    "Restorable",
    "Sink",
    "Source",
    "SourceStatus",
    "TablePreprocessor",
    "joined",
    "location_of",
]
