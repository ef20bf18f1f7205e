"""Settings of the Parquet sink and of the folder of rejects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from stream_infer.config import Rejects, SinkSettings, Storage


class ParquetSettings(SinkSettings):
    """Parquet files, each created once and never replaced."""

    kind: Literal["parquet"] = Field(default="parquet", description="Parquet files")
    url: str = Field(description="folder of the output: s3://, gs://, az://, file:// or any fsspec URL")
    storage: Storage = Field(default=Storage(), description="how to reach the store of url")
    single_writer: bool = Field(
        default=False,
        description="accept a store that cannot create conditionally: two instances at once may then write a record twice",
    )

    @property
    def folder(self) -> str | None:
        """URL of the folder that it writes."""
        return self.url

    def fingerprint(self) -> Mapping[str, str]:
        """See `config.SinkSettings.fingerprint`. The kind is left out: ledgers of older versions do not have it."""
        return {"url": self.url}


class FolderRejects(Rejects):
    """The folder that rejects are written to."""

    url: str | None = Field(
        default=None, description="folder for Parquet files of rejects, one a split; not inside the sink's"
    )
    storage: Storage = Field(default=Storage(), description="how to reach the store of url")

    @property
    def folder(self) -> str | None:
        """URL of the folder."""
        return self.url
