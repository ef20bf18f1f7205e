"""The base of the text tasks, and the columns of tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from stream_infer.models.base import to_arrow
from stream_infer.models.model_folder import ModelFolder

IDS, TYPES, OFFSETS = "__input_ids", "__token_type_ids", "__offsets"
TOKENS = pa.list_(pa.int32())
SEQUENCES = pa.list_(TOKENS)


@dataclass(slots=True)
class Work:
    """One padded micro-batch on the device.

    Attributes:
        inputs: the network's arguments, tensors of shape (sequences, longest).
        batch: the prepared rows.
        text: the input column of these rows.
    """

    module: Any
    tokenizer: Any
    inputs: dict[str, Any]
    batch: pa.Table
    text: pa.ChunkedArray


class TextTask:
    """Base class of the text tasks: one sequence for each text, truncated to ``max_length``.

    Attributes:
        auto: class of transformers that loads the network.
        extra: prepared columns that the task reads besides tokens and text.
        spare: parts of the network that may lack weights.
        ahead: whether `run` only queues work and keeps no state in the network.
    """

    auto: ClassVar[str]
    option_names: ClassVar[frozenset[str]] = frozenset()
    extra: ClassVar[frozenset[str]] = frozenset()
    pad_left: ClassVar[bool] = False
    spare: ClassVar[tuple[str, ...]] = ()
    ahead: ClassVar[bool] = False

    def __init__(self, options: Mapping[str, Any], folder: ModelFolder) -> None:
        self.options = options
        self.folder = folder

    def encode(self, tokenizer: Any, texts: Sequence[str], max_length: int) -> dict[str, pa.Array]:
        """The columns to add, one row for each text."""
        return self._columns(self._tokens(tokenizer, texts, max_length), TOKENS)

    def added_tokens(self) -> int:
        """Tokens of a row on the device besides those of its text."""
        return 0

    def run(self, work: Work) -> dict[str, Any]:
        """Run the network; returns Arrow columns, or tensors for `answer`, one row for each text."""
        raise NotImplementedError

    def answer(self, outputs: Mapping[str, Any], _config: Any) -> dict[str, pa.Array | pa.ChunkedArray]:
        """The task's columns from the results of `run`, whose tensors are on the host by now."""
        return {name: to_arrow(values) for name, values in outputs.items()}

    def _tokens(self, tokenizer: Any, texts: Any, max_length: int, **arguments: Any) -> Any:
        arguments.setdefault("truncation", True)
        return tokenizer(texts, max_length=max_length, padding=False, return_attention_mask=False, **arguments)

    def _columns(self, encoded: Any, kind: pa.DataType) -> dict[str, pa.Array]:
        columns = {IDS: pa.array(encoded["input_ids"], kind)}
        if "token_type_ids" in encoded:
            columns[TYPES] = pa.array(encoded["token_type_ids"], kind)
        return columns
