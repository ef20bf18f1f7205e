"""The decoder of contents to records, in the format of a source's settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from stream_infer import plugins
from stream_infer.config import FormatSettings, Limits
from stream_infer.decode.base import Decoded
from stream_infer.decode.compression import inflated
from stream_infer.decode.format import Format
from stream_infer.records import Content

_COMPRESSED: Final = ("gz", "zst")


class Decoder:
    """Decodes contents in one format, or for ``format: auto`` each in the format of its name's suffix. Picklable.

    Attributes:
        most_bytes: size of the largest content that is decoded.
    """

    def __init__(self, choice: FormatSettings, limits: Limits) -> None:
        formats: Mapping[str, Format] = plugins.installed(plugins.FORMATS)
        self._limits = limits
        self.most_bytes = limits.record_bytes
        self._by_suffix: dict[str, tuple[Format, FormatSettings]] = {}
        if choice.kind != "auto":
            self._default = formats[choice.kind], choice
            return
        text = formats["text"]
        self._default = text, text.options(kind="text")
        for each in formats.values():
            if not any(field.is_required() for field in each.options.model_fields.values()):
                for suffix in each.suffixes:
                    self._by_suffix.setdefault(suffix, (each, each.options(kind=each.name)))

    def format_of(self, name: str) -> Format:
        """The format of an object of this name."""
        return self._chosen(name)[0]

    def one_record(self, name: str) -> bool:
        """Whether an object of this name is exactly one record."""
        return self._chosen(name)[0].one_record

    def decode(self, content: Content, name: str) -> Iterator[Decoded]:
        """The records of one object, in pieces of bounded size.

        Args:
            content: the object's bytes; those of names that end in ``.gz`` and ``.zst`` are decompressed first.
            name: the object's key; only its suffix counts.

        Raises:
            RejectRecord: the object as a whole is not of this format, or is larger than ``limits.record_bytes``.
        """
        chosen, options = self._chosen(name)
        yield from chosen.decode(inflated(content, name, self.most_bytes), options, self._limits)

    def _chosen(self, name: str) -> tuple[Format, FormatSettings]:
        if not self._by_suffix:
            return self._default
        parts = name.lower().rsplit("/", 1)[-1].split(".")
        if parts[-1] in _COMPRESSED:
            parts.pop()
        return self._by_suffix.get(parts[-1], self._default) if len(parts) > 1 else self._default
