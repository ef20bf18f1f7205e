"""Commands that ask the running service: ``doctor`` and ``top``."""

from __future__ import annotations

from typing import Annotated

import typer

from stream_infer.ops.commands.console import File, Json, out, print_json


def doctor(file: File, as_json: Json = False) -> None:
    """Say whether the pipeline is healthy, and if not, what is at fault and what to do. Exit 1 if something is bad."""
    from stream_infer.ops.watch.ask import ask_doctor
    from stream_infer.ops.watch.terminal import verdict

    findings, respondent = ask_doctor(file)
    if as_json:
        print_json([finding.model_dump() for finding in findings])
    else:
        out.print(verdict(findings))
        out.print(f"asked: {respondent}", style="dim", highlight=False, markup=False)
    raise typer.Exit(1 if findings[0].severity == "bad" else 0)


def top(
    file: File,
    once: Annotated[
        bool, typer.Option("--once", help="print it once and exit, as happens where there is no terminal")
    ] = False,
) -> None:
    """Watch the running service: stages, sources, rates and the doctor's findings. Ctrl-C ends it."""
    from stream_infer.ops.watch.ask import show_top

    show_top(file, out, once=once)
