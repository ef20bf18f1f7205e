"""The HTTP server of a running pipeline: probes, metrics, status page and API."""

from stream_infer.ops.service.server import serving

__all__ = ["serving"]
