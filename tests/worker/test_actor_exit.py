"""How a worker's process ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import atexit, os
from pathlib import Path
import psutil, ray
from stream_infer.execution.cluster import connect
from stream_infer.stages import READ_DEMAND
from stream_infer.worker.actor import StageActor

class Stage:
    name, demand = "read", READ_DEMAND

    def setup(self, devices):
        Path(FOLDER, "pid").write_text(str(os.getpid()))

def unpickled():
    atexit.register(Path(FOLDER, "handler").write_text, "ran")
    return Stage()

class Model(Stage):
    def __reduce__(self):
        return unpickled, ()  # as a model's module is imported: before the stage is made

connect()
stage = ray.remote(StageActor).remote((Model(),), 0, None, 1, 1, 0, True)
ray.get(stage.__ray_ready__.remote())
worker = psutil.Process(int(Path(FOLDER, "pid").read_text()))
del stage
worker.wait(60)
(log,) = Path(ray._private.worker.global_worker.node.get_session_dir_path(), "logs").glob(f"python-core-worker-*_{worker.pid}.log")
Path(FOLDER, "log").write_text(log.read_text())
"""


def test_a_worker_takes_its_leave_and_runs_no_destructors(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"FOLDER = {str(tmp_path)!r}\n{SCRIPT}")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, str(script)], env=environment, check=True, timeout=180)
    assert (tmp_path / "handler").read_text() == "ran"
    log = (tmp_path / "log").read_text()
    assert "Disconnected from the local raylet" in log
    assert "Core worker is destructed" in log
    assert "Destructing CoreWorkerProcessImpl" not in log
