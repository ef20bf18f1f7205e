"""Settings that every sink has, and the section of rejects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from stream_infer.config.values import Settings, SizeOrNone


class SinkSettings(Settings):
    """Base of the settings of a sink. A subclass gives ``kind`` one literal and adds its own fields."""

    kind: str = Field(description="kind of the sink")
    keep: list[str] = Field(
        default_factory=list, description="input columns carried into the output; default: none beside the provenance"
    )
    partition: Literal["plan", "event"] = Field(
        default="plan",
        description="date in a folder's name: plan (when the split was planned) or event (when its records came about); "
        "default plan",
    )

    @property
    def folder(self) -> str | None:
        """URL of the folder that it writes, None where it writes none."""
        return None

    @property
    def location(self) -> str:
        """Where it writes, for a person. May hold credentials of a URL."""
        return self.folder or self.kind

    def fingerprint(self) -> Mapping[str, str]:
        """Settings that must stay while the ledger has planned work."""
        return {"kind": self.kind}


class Rejects(Settings):
    """Where rejects go besides the ledger, which always has them. Plugins add their targets' settings."""

    sample: SizeOrNone = Field(
        default=0, description="bytes of a rejected payload to keep with the reject; 0B keeps none; default 0B"
    )

    @property
    def folder(self) -> str | None:
        """URL of a folder that rejects are written to, None where they are written to none."""
        return None
