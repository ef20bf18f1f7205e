"""The plugin of the source kind ``files``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_infer.config import Limits
from stream_infer.connectors.files.settings import FilesSettings
from stream_infer.plugins import Plugin

if TYPE_CHECKING:
    from stream_infer.contracts import Source


def _source(settings: FilesSettings, *, pipeline: str, limits: Limits) -> Source:
    from stream_infer.connectors.files.source import FilesSource

    return FilesSource.from_config(settings, pipeline=pipeline, limits=limits)


FILES = Plugin(FilesSettings, _source)
