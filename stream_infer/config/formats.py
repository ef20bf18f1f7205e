"""Settings that every format has, and the setting ``format`` of a source: a name, or a name with options."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from stream_infer import plugins
from stream_infer.config.values import Settings


class FormatSettings(Settings):
    """Base of the options of a format. A subclass gives ``kind`` one literal as its default and adds its own fields."""

    kind: str = Field(description="name of the format")

    def fingerprint(self) -> str:
        """The name, and the options where they differ from their defaults."""
        options = self.model_dump(mode="json", exclude_defaults=True, exclude={"kind"})
        return f"{self.kind} {json.dumps(options, sort_keys=True)}" if options else self.kind


class AutoFormat(FormatSettings):
    """The format of each object by the suffix of its name; text where no format has the suffix."""

    kind: Literal["auto"] = Field(default="auto", description="the format of each object, by the suffix of its name")


def _any_format(_format: Any) -> bool:
    return True


@dataclass(frozen=True)
class OneFormat:
    """Annotation of a field: a format, written as its name or as a section with its name under ``kind``.

    Attributes:
        accepts: whether the field takes an installed `decode.format.Format`.
        more: choices that are no installed format.
    """

    accepts: Callable[[Any], bool] = _any_format
    more: tuple[type[FormatSettings], ...] = (AutoFormat,)

    def __get_pydantic_core_schema__(self, _source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        formats = plugins.installed(plugins.FORMATS)
        options = {name: each.options for name, each in formats.items() if self.accepts(each)}
        options |= {each.model_fields["kind"].default: each for each in self.more}
        choices = {name: handler.generate_schema(each) for name, each in options.items()}
        section = core_schema.tagged_union_schema(choices, discriminator="kind")
        written = core_schema.union_schema([core_schema.literal_schema(list(options)), section])
        return core_schema.no_info_before_validator_function(_as_section, section, json_schema_input_schema=written)


def _as_section(value: Any) -> Any:
    if isinstance(value, str):
        return {"kind": value}
    if isinstance(value, Mapping | FormatSettings):
        return value
    raise ValueError("is no format; write its name, or its options with its name under kind")
