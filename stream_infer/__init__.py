"""stream-infer: a model over everything that arrives, each record exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stream_infer.pipeline import Pipeline

    __version__: str

__all__ = ["Pipeline", "__version__"]


def __getattr__(name: str) -> object:
    # Workers and tools import single modules of this package; the whole engine must not come along.
    if name == "Pipeline":
        from stream_infer.pipeline import Pipeline

        return Pipeline
    if name == "__version__":
        from importlib.metadata import version

        return version("stream-infer")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
