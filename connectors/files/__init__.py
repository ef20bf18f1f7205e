"""Objects of a bucket and files of a folder."""

from stream_infer.connectors.files.source import FilesSource

__all__ = ["FilesSource"]
