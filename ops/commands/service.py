"""Commands that run the service: ``run`` and ``demo``."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Annotated

import typer

from stream_infer import config
from stream_infer.ops.commands.console import File, err, out
from stream_infer.ops.logs import log_to, tame_ray

if TYPE_CHECKING:
    from stream_infer.pipeline import Pipeline


def run(
    file: File,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="process everything that is there now, drain, and exit with 0")
    ] = False,
    standby: Annotated[
        bool, typer.Option("--standby", help="wait while another instance runs; take over when it ends")
    ] = False,
) -> None:
    """Run the service. SIGTERM or Ctrl-C drains it; a second signal stops it at once.

    A drain does not wait for a dependency that is unavailable: work that needs it stays planned for the next start.
    A second instance takes over at once and the first one stops; with --standby it waits until the first one ends.
    """
    settings = config.load(file)
    log_to(err, settings.telemetry.logs, config.Redactor(settings))
    from stream_infer.execution.cluster import connect

    tame_ray()

    # Ray starts processes and waits for them; meanwhile another thread does the other imports
    importing = threading.Thread(target=import_module, args=("stream_infer.ops.service",), name="importing")
    importing.start()
    connect()
    importing.join()
    from stream_infer.ops.service import serving
    from stream_infer.pipeline import Pipeline

    tame_ray()
    gc.freeze()  # imported objects live until the end, so no collection needs to look at them
    pipeline = Pipeline(settings)
    _drain_on_signal(pipeline)
    with contextlib.closing(pipeline), serving(pipeline):
        pipeline.run(until_idle=until_idle, standby=standby)


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="keep the folder with its files and logs")] = False,
) -> None:
    """Run a whole pipeline, from a Kafka broker and an S3 server to a search over embeddings. Leaves nothing running."""
    from stream_infer.ops.demo import run_demo

    raise typer.Exit(run_demo(out, keep=keep))


def _drain_on_signal(pipeline: Pipeline) -> None:
    stopping = threading.Event()

    def handle(number: int, _frame: object) -> None:
        if stopping.is_set():
            os._exit(128 + number)  # safe: whatever is not in the ledger is done again by the next start
        stopping.set()
        err.print("draining: work in flight is finished first; a second signal stops at once", style="dim")
        pipeline.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
