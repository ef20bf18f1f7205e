"""Objects of a bucket and files of a folder."""

from connectors.files.source import FilesSource

__all__ = ["FilesSource"]
