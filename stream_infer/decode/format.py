"""A format of contents: what an entry point of the group ``stream_infer.formats`` loads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stream_infer.config import FormatSettings, Limits

if TYPE_CHECKING:
    from stream_infer.decode.base import Decoded
    from stream_infer.records import Content


@dataclass(frozen=True, slots=True)
class Format:
    """A format of contents: of objects, and of the values of messages.

    Attributes:
        name: the name of the entry point, which is the ``kind`` of its options.
        suffixes: suffixes of the names of such objects, in lower case and without the dot, for ``format: auto``.
        column: the content column of its records; None for a format whose contents name their columns.
        one_record: whether a content is exactly one record. Only such formats can be chosen for the values of messages.
        options: the class of its options.
        decode: called with the content, the options and the limits; yields parts of bounded size. It raises
            `errors.RejectRecord` for a content that is not of this format. It must be a function of a module, because
            pickle sends it to workers by its name.
    """

    name: str
    suffixes: tuple[str, ...]
    column: str | None
    one_record: bool
    options: type[FormatSettings]
    decode: Callable[[Content, Any, Limits], Iterator[Decoded]]
