"""The commands of ``stream-infer``, by what they work on; `stream_infer.ops.cli` joins them.

Imports that take seconds are inside the functions: a wrong pipeline file is refused without them.
"""
