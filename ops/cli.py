"""The command line. Exit codes: 0 done, 1 something is wrong with the data or the run, 2 a setting or argument is."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import os
import signal
import sys
import threading
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from stream_infer import config
from stream_infer.errors import ConfigError, Retryable, StreamInferError
from stream_infer.ops.logs import log_to, tame_ray
from stream_infer.rejects import State
from stream_infer.search_path import importable, search_path

if TYPE_CHECKING:
    from stream_infer.pipeline import Pipeline

app = typer.Typer(
    name="stream-infer",
    help="Run a model over everything that arrives in Kafka and object stores, each record exactly once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
File = Annotated[Path, typer.Argument(help="the pipeline file (YAML)", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="print one JSON document")]
out = Console()
err = Console(stderr=True)


@app.command()
def run(
    file: File,
    until_idle: Annotated[bool, typer.Option("--until-idle", help="finish what there is, drain, exit 0")] = False,
    standby: Annotated[
        bool, typer.Option("--standby", help="wait while another instance lives; take over when it is gone")
    ] = False,
) -> None:
    """Run the service. SIGTERM or Ctrl-C drains; a second one stops at once.

    A drain waits for no dependency that is away: what needs it stays planned for the next start.
    A second instance takes over at once, and the first one stops; with --standby it waits for the first one's end.
    """
    settings = config.load(file)
    log_to(err, settings.telemetry.logs, config.Redactor(settings))
    from stream_infer.execution.cluster import connect

    tame_ray()

    # Ray starts processes and waits for them; meanwhile the rest can be imported.
    importing = threading.Thread(target=import_module, args=("stream_infer.ops.service",), name="importing")
    importing.start()
    connect()
    importing.join()
    from stream_infer.ops.service import serving
    from stream_infer.pipeline import Pipeline

    tame_ray()
    gc.freeze()  # what was imported stays: no collection has to look at it again
    pipeline = Pipeline(settings)
    _drain_on_signal(pipeline)
    with contextlib.closing(pipeline), serving(pipeline):
        pipeline.run(until_idle=until_idle, standby=standby)


@app.command()
def status(file: File, as_json: Json = False) -> None:
    """Show what the ledger knows: records by fate, each source's position."""
    with contextlib.closing(_pipeline(file)) as pipeline:
        document = pipeline.status()
    document.pop("state", None), document.pop("ready", None)
    if as_json:
        _print_json(document)
        return
    out.print(
        f"[bold]{document['pipeline']}[/] · epoch {document['epoch']} · {document['owner'] or _ownerless(document)}"
    )
    table = Table("source", "rows", "rejected", "lost", "in flight", "splits")
    for source in document["sources"]:
        counts = [source.get(name, 0) for name in ("rows", "rejected", "lost", "in_flight")]
        splits = source.get("splits", {}).get("committed", 0)
        table.add_row(source["name"], *(f"{count:,}" for count in counts), f"{splits:,}")
    out.print(table)


@app.command()
def audit(file: File, as_json: Json = False) -> None:
    """Hold the output folder against the ledger. Exit 1 unless nothing is lost and nothing is there twice."""
    with contextlib.closing(_pipeline(file)) as pipeline:
        result = pipeline.audit()
    if as_json:
        _print_json(result.counts())
    else:
        for name, count in result.counts().items():
            out.print(f"{name:>10}  {count:,}", highlight=False)
        for finding in result.findings[:20]:
            out.print(f"[red]{finding}")
    raise typer.Exit(0 if result.clean else 1)


@app.command()
def where(
    file: File,
    name: Annotated[
        str, typer.Argument(help="a coordinate, s3://bucket/key, a key, topic/partition/offset or an offset")
    ],
    as_json: Json = False,
) -> None:
    """Tell what became of a record or an object. Exit 1 when it was never planned."""
    from stream_infer.ops.watch.search import absent, search

    with contextlib.closing(_pipeline(file)) as pipeline:
        found = search(pipeline.settings, pipeline.ledger(), name)
        missing = "" if found or as_json else absent(pipeline.settings, pipeline.ledger(), name)
    if as_json:
        _print_json([dataclasses.asdict(item) for item in found])
    elif not found:
        out.print(missing, highlight=False, markup=False)
    for item in found if not as_json else ():
        place = item.reason or item.file or "no file yet"
        out.print(f"{item.record}\n  {item.state} · {place} · split {item.split_id}", highlight=False, markup=False)
    raise typer.Exit(0 if found else 1)


class RejectsAction(StrEnum):
    """What to do with the rejects."""

    LIST = "list"
    SHOW = "show"
    REPLAY = "replay"


@app.command()
def rejects(
    file: File,
    action: Annotated[RejectsAction, typer.Argument(help="list them, show some whole, or replay those that are open")],
    records: Annotated[list[str] | None, typer.Argument(metavar="[RECORD]...", help="only these coordinates")] = None,
    source: Annotated[str | None, typer.Option(help="only of this source")] = None,
    error: Annotated[str | None, typer.Option(help="only with this error class")] = None,
    since: Annotated[
        str | None, typer.Option(help="only rejected since then: 2026-01-31T12:00+00:00, or 2h ago")
    ] = None,
    until: Annotated[str | None, typer.Option(help="only rejected before then")] = None,
    state: Annotated[State | None, typer.Option(help="only in this state")] = None,
    limit: Annotated[int, typer.Option(help="most rejects to list", min=1)] = 1000,
    as_json: Json = False,
) -> None:
    """List the records that could not be processed, show why, or have them processed again."""
    from stream_infer.ops import rejects as views
    from stream_infer.ops.watch import formatting

    chosen = views.chosen(source, error, since, until, records or (), state)
    with contextlib.closing(_pipeline(file)) as pipeline:
        if action is RejectsAction.REPLAY:
            asked = pipeline.replay(chosen)
            _print_json({"asked": asked}) if as_json else out.print(views.asked(asked))
            return
        if action is RejectsAction.SHOW:
            if not records:
                raise ConfigError("rejects show: name the record's coordinate; `rejects FILE list` shows them")
            found = views.whole(pipeline.ledger(), records)
        else:
            found = [item.to_dict() for item in pipeline.rejects(chosen, limit)]
    if as_json:
        _print_json(found)
        return
    for item in found:
        out.print(views.in_words(item), highlight=False, markup=False)
    out.print(formatting.count(len(found), "reject") if found else "no rejects", style="dim")


@app.command()
def doctor(file: File, as_json: Json = False) -> None:
    """Say whether it is well, and if not, who is guilty and what to do. Exit 1 when something is bad."""
    from stream_infer.ops.watch.commands import doctor as examined
    from stream_infer.ops.watch.terminal import verdict

    findings, told_by = examined(file)
    if as_json:
        _print_json([finding.model_dump() for finding in findings])
    else:
        out.print(verdict(findings))
        out.print(f"says {told_by}", style="dim", highlight=False, markup=False)
    raise typer.Exit(1 if findings[0].severity == "bad" else 0)


@app.command()
def top(
    file: File,
    once: Annotated[bool, typer.Option("--once", help="show it once and end, as where there is no terminal")] = False,
) -> None:
    """Watch the running service: stages, sources, rates and the doctor's verdict. Ctrl-C leaves."""
    from stream_infer.ops.watch.commands import top as watched

    watched(file, out, once=once)


@app.command()
def rebuild(
    file: File,
    force: Annotated[bool, typer.Option("--force", help="also where the ledger has work: it is kept aside")] = False,
    settle: Annotated[float, typer.Option(help="seconds without a new file after which the output is still")] = 15.0,
    as_json: Json = False,
) -> None:
    """Make a lost ledger anew from the receipts in the output files. Stop the service first."""
    with contextlib.closing(_pipeline(file)) as pipeline:
        result, kept = pipeline.rebuild(force, settle)
    if as_json:
        _print_json({**dataclasses.asdict(result), "kept": kept})
        return
    if kept is not None:
        out.print(f"the old ledger is kept: {kept}", highlight=False, markup=False)
    for name, count in dataclasses.asdict(result).items():
        out.print(f"{name:>10}  {count:,}", highlight=False)


@app.command()
def validate(file: File) -> None:
    """Check a pipeline file. Touches no store, broker or model."""
    settings = config.load(file)
    sources = ", ".join(f"{source.name} ({source.kind})" for source in settings.sources)
    out.print(f"{file} is valid: {settings.name} reads {sources}", highlight=False, markup=False)


@app.command()
def schema() -> None:
    """Print the JSON schema of pipeline files, for editors."""
    _print_json(config.PipelineSettings.model_json_schema())


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="keep the folder with its files and logs")] = False,
) -> None:
    """Show the whole way, from a Kafka broker and an S3 server to a search over embeddings. Leaves nothing running."""
    from stream_infer.ops.demo import run_demo

    raise typer.Exit(run_demo(out, keep=keep))


def main() -> None:
    """Entry point: a user sees one sentence, never a traceback, for what a user can repair."""
    try:
        importable(search_path())  # a model of one's own lies where one stands, as with `python -m`
        app()
    except ConfigError as error:
        _fail(error, 2)
    except (StreamInferError, Retryable) as error:
        _fail(error, 1)
    except KeyboardInterrupt:
        sys.exit(130)


def _ownerless(document: dict[str, Any]) -> str:
    return "not running" if document["epoch"] else "never run"


def _pipeline(file: Path) -> Pipeline:
    settings = config.load(file)
    from stream_infer.pipeline import Pipeline  # seconds of imports, and a wrong file is told without them

    return Pipeline(settings)


def _fail(error: StreamInferError, code: int) -> None:
    err.print(f"stream-infer: {error}", style="red", highlight=False, markup=False)
    sys.exit(code)


def _print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")


def _drain_on_signal(pipeline: Pipeline) -> None:
    stopping = threading.Event()

    def handle(number: int, _frame: object) -> None:
        if stopping.is_set():
            os._exit(128 + number)  # everything that counts is in the ledger or will be done again
        stopping.set()
        err.print("draining: what is in flight is finished; once more stops at once", style="dim")
        pipeline.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)


if __name__ == "__main__":
    main()
