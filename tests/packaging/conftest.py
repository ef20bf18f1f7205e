"""Environments of their own: a wheel of this tree, or an editable install, beside the packages of this environment."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.packaging.packaging_kit import Environment

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files."""
    folder = tmp_path_factory.mktemp("source") / "tree"
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    for name in filter(None, names.decode().split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, target, follow_symlinks=False)
    return folder


@pytest.fixture(scope="session")
def wheel(source: Path) -> Path:
    """The wheel of this tree."""
    code = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    dist = source.parent / "dist"
    dist.mkdir()
    subprocess.run([sys.executable, "-c", code, str(dist)], cwd=source, check=True, capture_output=True)
    (made,) = dist.glob("*.whl")
    return made


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Environment]:
    """Makes environments with the packages of this one, but for those whose modules are left out."""

    def made(without: Sequence[str] = ()) -> Environment:
        folder = tmp_path_factory.mktemp("environment")
        venv.create(folder / "venv", with_pip=False, symlinks=True)
        built = Environment(folder / "venv")
        borrowed = folder / "borrowed"
        borrowed.mkdir()
        for path in (path for path in sys.path if path.endswith("site-packages")):
            for entry in Path(path).iterdir():
                name = entry.name.partition("-")[0].partition(".")[0].lower()
                if name not in {*without, "stream_infer", "__editable___stream_infer", "__editable__"}:
                    link = borrowed / entry.name
                    if entry.suffix != ".pth" and not link.exists():
                        link.symlink_to(entry)
        (built.packages / "borrowed.pth").write_text(f"{borrowed}\n")
        return built

    return made
