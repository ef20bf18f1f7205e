"""Commands about pipeline files: ``validate`` and ``schema``. They reach no store, broker or model."""

from __future__ import annotations

from stream_infer import config
from stream_infer.ops.commands.console import File, print_json, print_plain


def validate(file: File) -> None:
    """Check a pipeline file. Reaches no store, broker or model."""
    settings = config.load(file)
    sources = ", ".join(f"{source.name} ({source.kind})" for source in settings.sources)
    print_plain(f"{file} is valid: {settings.name} reads {sources}")


def schema() -> None:
    """Print the JSON schema of pipeline files, for editors."""
    print_json(config.PipelineSettings.model_json_schema())
