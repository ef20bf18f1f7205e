"""Answers for ``doctor`` and ``top``: from the running service, or for the doctor from the ledger where none runs."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.live import Live
from rich.segment import Segment, Segments

from stream_infer import config
from stream_infer.errors import ConfigError, Fatal
from stream_infer.ops.watch.address import NoService, Silent
from stream_infer.ops.watch.client import Client
from stream_infer.ops.watch.snapshot import Finding, Snapshot
from stream_infer.ops.watch.terminal import picture


def ask_doctor(file: Path) -> tuple[list[Finding], str]:
    """The findings, and who gave them: the running service, or the ledger where no service answers."""
    settings = config.load(file)
    try:
        client = Client(settings)
        answer: dict[str, Any] = client.get("/api/v1/doctor")
        return [Finding.model_validate(item) for item in answer["findings"]], f"the service at {client.url}"
    except (NoService, ConfigError) as error:
        silence = str(error) if isinstance(error, Silent) else None
    from stream_infer.ops.watch.watcher import without_service  # takes seconds, which a running service saves
    from stream_infer.pipeline import Pipeline

    with contextlib.closing(Pipeline(settings)) as pipeline:
        return without_service(pipeline, silence).findings, "the ledger, because no service answers"


def show_top(file: Path, console: Console, *, once: bool) -> None:
    """Show the service until Ctrl-C, or one picture of it.

    Raises:
        NoService: no service answers.
    """
    client = Client(config.load(file))
    if once or not console.is_terminal:
        console.print(picture(Snapshot.model_validate(client.get("/api/v1/status")), console.width))
        return
    with contextlib.suppress(KeyboardInterrupt), Live(console=console, screen=True, auto_refresh=False) as live:
        for snapshot in client.snapshots():
            live.update(_fit_screen(picture(snapshot, console.width), console), refresh=True)
        raise Fatal("the service has ended")


def _fit_screen(screen: RenderableType, console: Console) -> RenderableType:
    """Cut to the lines of the terminal: Live would otherwise print an ellipsis at the bottom."""
    lines = console.render_lines(screen, pad=False)[: console.height - 1]
    return Segments([segment for line in lines for segment in (*line, Segment.line())])
