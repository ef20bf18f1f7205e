"""Suites and doubles for those who write connectors, models and formats.

A suite takes a factory and raises AssertionError with one sentence where a promise of a seam is broken; it needs no test
framework. The doubles stand in for what the code under test talks to.
"""

from __future__ import annotations

from stream_infer.testing.catalog import CheckedTable, check_catalog
from stream_infer.testing.folder import FolderSink
from stream_infer.testing.format import check_format
from stream_infer.testing.model import check_model
from stream_infer.testing.numbers import NumbersReader, NumbersSource
from stream_infer.testing.reader import CheckedSplit, check_reader
from stream_infer.testing.script import ABORT, EOF, PAUSE
from stream_infer.testing.sink import check_sink
from stream_infer.testing.source import CheckedSource, MemoryPosition, check_source

__all__ = [
    "ABORT",
    "EOF",
    "PAUSE",
    "CheckedSource",
    "CheckedSplit",
    "CheckedTable",
    "FolderSink",
    "MemoryPosition",
    "NumbersReader",
    "NumbersSource",
    "check_catalog",
    "check_format",
    "check_model",
    "check_reader",
    "check_sink",
    "check_source",
]
