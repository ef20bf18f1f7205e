"""The HTTP face of a running pipeline: health, metrics, status."""

from stream_infer.ops.service.server import serving

__all__ = ["serving"]
