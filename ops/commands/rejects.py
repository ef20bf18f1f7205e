"""The command ``rejects``: list, show and replay records that could not be processed."""

from __future__ import annotations

import contextlib
from enum import StrEnum
from typing import Annotated

import typer

from stream_infer.errors import ConfigError
from stream_infer.ops.commands.console import File, Json, open_pipeline, out, print_json, print_plain
from stream_infer.rejects import State


class RejectsAction(StrEnum):
    """The actions of the command."""

    LIST = "list"
    SHOW = "show"
    REPLAY = "replay"


def rejects(
    file: File,
    action: Annotated[RejectsAction, typer.Argument(help="list rejects, show all of some, or replay the open ones")],
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

    query = views.reject_query(source, error, since, until, records or (), state)
    with contextlib.closing(open_pipeline(file)) as pipeline:
        if action is RejectsAction.REPLAY:
            count = pipeline.replay(query)
            print_json({"asked": count}) if as_json else out.print(views.replay_sentence(count))
            return
        if action is RejectsAction.SHOW:
            if not records:
                raise ConfigError("rejects show: name the record's coordinate; `rejects FILE list` shows them")
            documents = views.details(pipeline.ledger(), records)
        else:
            documents = [item.to_dict() for item in pipeline.rejects(query, limit)]
    if as_json:
        print_json(documents)
        return
    for document in documents:
        print_plain(views.in_words(document))
    out.print(formatting.count(len(documents), "reject") if documents else "no rejects", style="dim")
