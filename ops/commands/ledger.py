"""Commands that read the ledger: ``status``, ``audit``, ``where``; and ``rebuild``, which makes it anew."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Annotated, Any

import typer
from rich.table import Table

from stream_infer.ops.commands.console import File, Json, open_pipeline, out, print_json, print_plain

_MAX_FINDINGS = 20  # of an audit, printed


def status(file: File, as_json: Json = False) -> None:
    """Show the ledger's counts: records by how they ended, by source."""
    with contextlib.closing(open_pipeline(file)) as pipeline:
        document = pipeline.status()
    document.pop("state", None), document.pop("ready", None)
    if as_json:
        print_json(document)
        return
    owner = document["owner"] or ("not running" if document["epoch"] else "never run")
    out.print(f"[bold]{document['pipeline']}[/] · epoch {document['epoch']} · {owner}")
    out.print(_sources(document["sources"]))


def _sources(sources: list[dict[str, Any]]) -> Table:
    table = Table("source", "rows", "rejected", "lost", "in flight", "splits")
    for source in sources:
        counts = [source.get(name, 0) for name in ("rows", "rejected", "lost", "in_flight")]
        splits = source.get("splits", {}).get("committed", 0)
        table.add_row(source["name"], *(f"{count:,}" for count in counts), f"{splits:,}")
    return table


def audit(file: File, as_json: Json = False) -> None:
    """Compare the output folder with the ledger. Exit 1 unless no record is lost and none is there twice."""
    with contextlib.closing(open_pipeline(file)) as pipeline:
        result = pipeline.audit()
    if as_json:
        print_json(result.counts())
    else:
        for name, count in result.counts().items():
            print_plain(f"{name:>10}  {count:,}")
        for finding in result.findings[:_MAX_FINDINGS]:
            out.print(f"[red]{finding}")
    raise typer.Exit(0 if result.clean else 1)


def where(
    file: File,
    name: Annotated[
        str, typer.Argument(help="a coordinate, s3://bucket/key, a key, topic/partition/offset or an offset")
    ],
    as_json: Json = False,
) -> None:
    """Show how a record or an object ended, and where its row is. Exit 1 if it was never planned."""
    from stream_infer.ops.watch.search import absent, search

    with contextlib.closing(open_pipeline(file)) as pipeline:
        endings = search(pipeline.settings, pipeline.ledger(), name)
        explanation = "" if endings or as_json else absent(pipeline.settings, pipeline.ledger(), name)
    if as_json:
        print_json([dataclasses.asdict(ending) for ending in endings])
        raise typer.Exit(0 if endings else 1)
    if not endings:
        print_plain(explanation)
        raise typer.Exit(1)
    for ending in endings:
        result = ending.reason or ending.file or "no file yet"
        print_plain(f"{ending.record}\n  {ending.state} · {result} · split {ending.split_id}")


def rebuild(
    file: File,
    force: Annotated[
        bool, typer.Option("--force", help="also when the ledger has work: the old ledger is kept under another name")
    ] = False,
    settle: Annotated[
        float, typer.Option(help="seconds without a new file after which no writer is thought to be left")
    ] = 15.0,
    as_json: Json = False,
) -> None:
    """Make a lost ledger anew from the receipts in the output files. Stop the service first."""
    with contextlib.closing(open_pipeline(file)) as pipeline:
        result, old_ledger = pipeline.rebuild(force, settle)
    if as_json:
        print_json({**dataclasses.asdict(result), "kept": old_ledger})
        return
    if old_ledger is not None:
        print_plain(f"the old ledger is kept: {old_ledger}")
    for name, count in dataclasses.asdict(result).items():
        print_plain(f"{name:>10}  {count:,}")
