"""The kind ``parquet`` of sinks, and the folder of rejects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stream_infer.config import SourceSettings
from stream_infer.connectors.parquet.settings import FolderRejects, ParquetSettings
from stream_infer.plugins import Plugin, RejectPlugin

if TYPE_CHECKING:
    from stream_infer.contracts import RejectTarget, Sink


def _sink(settings: ParquetSettings) -> Sink:
    from stream_infer.connectors.parquet.sink import ParquetSink

    return ParquetSink.from_config(settings)


def _rejects(settings: FolderRejects, _sources: Sequence[SourceSettings]) -> RejectTarget | None:
    if settings.url is None:
        return None
    from stream_infer.connectors.parquet.rejects import RejectFolder

    return RejectFolder.from_config(settings)


PARQUET = Plugin(ParquetSettings, _sink, default=True, rejects=RejectPlugin(FolderRejects, _rejects))
