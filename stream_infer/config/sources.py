"""Settings that every source has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import ConfigDict, Field

from stream_infer.config.values import Settings


class SourceSettings(Settings):
    """Base of the settings of a source. A subclass gives ``kind`` one literal and adds its own fields."""

    model_config = ConfigDict(defer_build=True)  # formats are loaded with the first file, not with the class

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$", description="name of the source in metrics, logs and the ledger"
    )
    kind: str = Field(description="kind of the source")
    lane: Literal["live", "backfill"] = Field(
        default="live", description="splits of live sources are admitted before those of backfill sources"
    )

    @property
    def folder(self) -> str | None:
        """URL of the folder that it reads, None where it reads no folder."""
        return None

    @property
    def location(self) -> str:
        """Where it reads, for a person. A URL in it may hold credentials."""
        return self.folder or self.kind

    def fingerprint(self) -> Mapping[str, str]:
        """Settings that must stay while the ledger has planned work of this source."""
        return {"kind": self.kind}
