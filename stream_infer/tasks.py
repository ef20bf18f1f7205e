"""The words that the driver and the workers share about a split on its way through the stages."""

from __future__ import annotations

from stream_infer.splits import Split

PRIMING = ""  # source name of a split that only warms the actors


def priming_split(number: int) -> Split:
    """A split that reads nothing: when it comes out, every pool has a warm actor."""
    return Split.of(PRIMING, {"prime": number}, folder="", records=0, bytes=0)
