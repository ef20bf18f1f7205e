"""The demo: the main job with real servers and real texts, on this machine."""

from stream_infer.ops.demo.run import run_demo

__all__ = ["run_demo"]
