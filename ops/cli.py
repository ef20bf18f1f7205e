"""The command line. Exit codes: 0 done, 1 something is wrong with the data or the run, 2 with a setting or an argument."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from stream_infer.errors import ConfigError, Retryable, StreamInferError
from stream_infer.ops.commands.console import err
from stream_infer.ops.commands.ledger import audit, rebuild, status, where
from stream_infer.ops.commands.rejects import rejects
from stream_infer.ops.commands.service import demo, run
from stream_infer.ops.commands.settings import schema, validate
from stream_infer.ops.commands.watch import doctor, top
from stream_infer.search_path import importable, search_path

COMMANDS = (run, status, audit, where, rejects, doctor, top, rebuild, validate, schema, demo)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"stream-infer {version('stream-infer')}")
        raise typer.Exit


def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print the version and exit")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def build_app() -> typer.Typer:
    """The application with all its commands."""
    application = typer.Typer(
        name="stream-infer",
        help="Run a model over everything that arrives in Kafka and object stores, each record exactly once.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    application.callback()(_options)
    for command in COMMANDS:
        application.command()(command)
    return application


app = build_app()


def main() -> None:
    """Run the command line. An error that a user can repair is printed as one sentence, without a traceback."""
    try:
        importable(search_path())  # a user's model is imported from the current folder, as with `python -m`
        app()
    except ConfigError as error:
        _fail(error, 2)
    except (StreamInferError, Retryable) as error:
        _fail(error, 1)
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(error: StreamInferError, code: int) -> None:
    err.print(f"stream-infer: {error}", style="red", highlight=False, markup=False)
    sys.exit(code)


if __name__ == "__main__":
    main()
