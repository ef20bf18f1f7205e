"""A virtual environment of its own, for tests of what is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Environment:
    """A virtual environment."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def packages(self) -> Path:
        """Its folder of packages."""
        return next((self.folder / "lib").glob("python*/site-packages"))

    def install(self, *arguments: str) -> None:
        """Install a wheel or a folder, without dependencies and without the network."""
        command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps"]
        command += ["--no-build-isolation", "--python", str(self.python), *arguments]
        subprocess.run(command, check=True, capture_output=True)

    def run(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command stream-infer in a folder."""
        environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        command = [str(self.folder / "bin" / "stream-infer"), *arguments]
        return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
