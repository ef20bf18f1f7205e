"""Parts of the pipeline file that the installed plugins make up: unions by ``kind``, and the section of rejects.

They are built when the first pipeline file is parsed, not when this package is imported.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic import GetCoreSchemaHandler, create_model
from pydantic_core import CoreSchema, core_schema

from stream_infer import plugins
from stream_infer.config.sinks import Rejects


@dataclass(frozen=True)
class OneOf:
    """Annotation of a field: the settings of one plugin of the group, chosen by ``kind``."""

    group: str

    def __get_pydantic_core_schema__(self, _source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        offered = plugins.installed(self.group)
        choices = {kind: handler.generate_schema(plugin.settings) for kind, plugin in offered.items()}
        union = core_schema.tagged_union_schema(choices, discriminator="kind")
        default = next((kind for kind, plugin in offered.items() if plugin.default), None)
        if default is None:
            return union
        return core_schema.no_info_before_validator_function(functools.partial(_with_kind, default), union)


def _with_kind(kind: str, value: Any) -> Any:
    return {"kind": kind, **value} if isinstance(value, Mapping) else value


class WithTargets:
    """Annotation of the section ``rejects``: the fields of every installed target of rejects."""

    def __get_pydantic_core_schema__(self, _source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler.generate_schema(rejects_section())


@functools.cache
def rejects_section() -> type[Rejects]:
    """The class of the section ``rejects``: a subclass of every installed target's settings."""
    bases = tuple(dict.fromkeys(offered.settings for offered in plugins.reject_plugins()))
    made = create_model("Rejects", __base__=bases or (Rejects,), __doc__=Rejects.__doc__)
    return cast(type[Rejects], made)
