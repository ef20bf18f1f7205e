"""The demo: the main job with real parts and real texts, on whatever this machine has."""

from stream_infer.ops.demo.run import run_demo

__all__ = ["run_demo"]
