"""Starts the service again and again from one process that has imported it: imports are most of a start.

``python starter.py`` reads one JSON document a line, ``{"arguments", "environment", "folder", "log"}``, starts
``stream-infer ARGUMENTS`` in a fork of itself and writes two lines: the process id, and later the exit status.
The fork is the whole service; it shares nothing with the next one.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import stream_infer.connectors.files
import stream_infer.connectors.kafka
import stream_infer.connectors.parquet
import stream_infer.ops.service
import stream_infer.pipeline  # noqa: F401
from stream_infer import crash
from stream_infer.ops import cli


def main() -> None:
    """Until the input ends."""
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(order)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _become(order: dict[str, Any]) -> None:
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for target, handle in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
        os.dup2(handle, target)
    os.chdir(order["folder"])
    sys.path.insert(0, order["folder"])  # as `python -m` has it
    os.environ.update(order["environment"])
    setattr(crash, "_POINTS", crash._Points(os.environ.get(crash.SETTING, "")))  # noqa: B010 as a new process reads it
    sys.argv = ["stream-infer", *order["arguments"]]
    cli.main()
    sys.exit(0)


if __name__ == "__main__":
    main()
