"""The one module that touches Ray's private parts is checked against one version of Ray."""

from __future__ import annotations

from pathlib import Path

import ray

from stream_infer.engine import unbounded


def test_ray_is_the_version_this_was_checked_against() -> None:
    assert ray.__version__ == unbounded.CHECKED_VERSION


def test_only_this_module_touches_private_parts_of_ray_data() -> None:
    root = Path(__file__).parents[2]
    sources = [path for folder in ("stream_infer", "connectors", "ops") for path in (root / folder).rglob("*.py")]
    users = [path.name for path in sources if "ray.data._internal" in path.read_text()]
    assert users == ["unbounded.py"]
