"""Parquet files on an object store or a disk, each created once with its receipt inside."""
