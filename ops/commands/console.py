"""What all commands share: common arguments, output, and the pipeline of a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from stream_infer import config

if TYPE_CHECKING:
    from stream_infer.pipeline import Pipeline

File = Annotated[Path, typer.Argument(help="the pipeline file (YAML)", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="print one JSON document")]
out = Console()
err = Console(stderr=True)


def open_pipeline(file: Path) -> Pipeline:
    """The pipeline of a file.

    Raises:
        ConfigError: the file is wrong.
    """
    settings = config.load(file)
    from stream_infer.pipeline import Pipeline

    return Pipeline(settings)


def print_plain(text: str) -> None:
    """Print names and reasons as they are: no markup, no colours for numbers."""
    out.print(text, highlight=False, markup=False)


def print_json(document: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")
