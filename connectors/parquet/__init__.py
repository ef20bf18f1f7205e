"""Parquet files on an object store or a disk, each created once with its receipt inside."""

from stream_infer.connectors.parquet.sink import ParquetSink

__all__ = ["ParquetSink"]
