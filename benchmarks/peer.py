"""Peers: jobs of other systems, in environments of their own pinned under ``peers/NAME``; each prints one line of JSON."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.results import Result

HERE = Path(__file__).parent
_SECONDS = 240


def rate(result: Result, name: str, *arguments: str) -> float | None:
    """Records per second of a peer's job; None, with the reason in the row, if it could not be measured."""
    try:
        python = _environment(name)
        job = [str(python), str(HERE / "peers" / name / "job.py"), *arguments]
        ran = subprocess.run(job, capture_output=True, text=True, timeout=_SECONDS, check=True, cwd=HERE / "peers")
        answer = json.loads(next(line for line in reversed(ran.stdout.splitlines()) if line.startswith("{")))
        return float(answer["records"]) / float(answer["seconds"])
    except subprocess.TimeoutExpired:
        result.add_statement(f"peer {name}", "no figure", f"not done after {_SECONDS} s")
    except (subprocess.CalledProcessError, ValueError, KeyError, StopIteration, OSError) as error:
        tail = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        result.add_statement(f"peer {name}", "no figure", _cell(tail[-1] if tail else "it failed"))
    return None


def _environment(name: str) -> Path:
    """The peer's Python; makes its environment if there is none."""
    folder = HERE / ".envs" / name
    python = folder / "bin" / "python"
    requirements = (HERE / "peers" / name / "requirements.txt").read_text()
    made = folder / "made-from.txt"
    if not made.exists() or made.read_text() != requirements:
        uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
        subprocess.run(
            [uv, "venv", "-q", "--clear", "--python", sys.executable, folder], check=True, capture_output=True
        )
        wheels = ["--compile-bytecode", "--require-hashes", "-r", str(HERE / "peers" / name / "requirements.txt")]
        install = [uv, "pip", "install", "-q", *wheels]
        subprocess.run(
            install, check=True, capture_output=True, text=True, env={**os.environ, "VIRTUAL_ENV": str(folder)}
        )
        made.write_text(requirements)
    return python


def _cell(reason: str) -> str:
    """The reason as a cell of the table, without folders of this machine."""
    return reason.replace(f"{HERE.parent}/", "").replace("|", "/")[:160]
