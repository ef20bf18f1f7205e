"""Suites and doubles for those who write connectors, models and formats.

A suite takes a factory and raises AssertionError with one sentence where a promise of `contracts` is broken; it needs
no test framework. The doubles stand in for what the code under test talks to.
"""

from __future__ import annotations

from stream_infer.testing.folder import FolderSink
from stream_infer.testing.numbers import NumbersReader, NumbersSource
from stream_infer.testing.script import ABORT, EOF, PAUSE
from stream_infer.testing.sink import check_sink

__all__ = ["ABORT", "EOF", "PAUSE", "FolderSink", "NumbersReader", "NumbersSource", "check_sink"]
