"""Hugging Face models for text: CPUs make the tokens, the device gets tensors only."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as types

from stream_infer.errors import ConfigError, Fatal, RejectRecord
from stream_infer.models.base import input_column, to_device, unknown_options
from stream_infer.models.batching import BatchedModel
from stream_infer.models.cuda_streams import STREAMS, CudaStreams, to_host
from stream_infer.models.model_folder import ModelFolder
from stream_infer.models.padding import flattened, lengths, padded
from stream_infer.models.settings import TransformersModel
from stream_infer.models.text_task import IDS, TYPES, TextTask, Work
from stream_infer.models.text_tasks import text_task

# model families whose first position is pad_token_id + 1, so that fewer tokens fit than there are positions
_OFFSET_POSITIONS = (
    "roberta",
    "xlm-roberta",
    "xlm-roberta-xl",
    "camembert",
    "longformer",
    "mpnet",
    "xmod",
    "data2vec-text",
)

_REHEARSED = 64  # rows of the rehearsal, and words of its longest row


class TextModel(BatchedModel):
    """One of the text tasks of `stream_infer.models.text_tasks`.

    `prepare` adds ``__input_ids`` (list<int32>, truncated, with special tokens, not padded) and the task's own columns. The
    cost of a row is its number of tokens, generated ones included.

    Raises:
        ConfigError: no such folder, no safetensors weights, or an option that the task does not have.
    """

    _transient = ("_tokenizer", "_module", "_limit", "_streams")

    def __init__(self, settings: TransformersModel) -> None:
        self._folder = ModelFolder(settings)
        self._task: TextTask = text_task(settings.task, settings.options, self._folder)
        unknown_options(settings.options, self._task.option_names, settings.task)
        self._column = settings.input or "text"
        self._options = settings.options
        self._tokenizer: Any = None
        self._module: Any = None
        self._limit: int | None = None
        self._streams: CudaStreams | None = None

    @property
    def identity(self) -> str:
        """``name@digest`` of files, task, options and dtype. Reads the weights once a process."""
        return self._folder.identity

    @property
    def weights(self) -> int | None:
        """Bytes of the safetensors files, None before they are fetched."""
        return self._folder.weights

    @property
    def reads(self) -> frozenset[str]:
        """``__input_ids``, ``__token_type_ids``, the text, and the task's own columns."""
        return frozenset({IDS, TYPES, self._column}) | self._task.extra

    def prepare(self, records: pa.Table) -> pa.Table:
        """The records with their tokens. Numbers, dates and UTF-8 bytes become text.

        Raises:
            RejectRecord: a value is null, or cannot become text.
        """
        column = input_column(records, self._column, self._folder.name)
        table = records
        if not (types.is_string(column.type) or types.is_large_string(column.type)):
            column = self._as_text(column)
            table = table.set_column(table.column_names.index(self._column), self._column, column)
        for name, values in self._encoded(column.to_pylist()).items():
            table = table.append_column(name, values)
        return table

    def _as_text(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        # in CSV and JSON the type is inferred from the data, so that a text of digits alone arrives as a number
        try:
            return column.cast(pa.string())
        except pa.ArrowException:
            message = f"{self._folder.name} reads text, but column {self._column!r} is {column.type}; set model.input"
            raise RejectRecord(message, reason="not_text") from None

    def _encoded(self, texts: list[str]) -> dict[str, pa.Array]:
        tokenizer = self._loaded_tokenizer()
        columns = self._task.encode(tokenizer, texts, self._max_length())
        empty = np.flatnonzero(lengths(pa.chunked_array([columns[IDS]])) == 0)
        if not len(empty):
            return columns
        # without special tokens an empty text has no token, and a network needs at least one
        start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        if start is None:
            raise RejectRecord("the text has no tokens", reason="empty")
        filler = {IDS: [start], TYPES: [0]}
        return {
            name: pa.array([row or filler.get(name, []) for row in values.to_pylist()], values.type)
            for name, values in columns.items()
        }

    def warm(self) -> None:
        """Load the tokenizer."""
        self._loaded_tokenizer()

    def load(self, devices: Sequence[str]) -> None:
        """Load the weights onto the first device.

        Raises:
            ConfigError: the folder lacks weights that the task needs.
        """
        super().load(devices)
        device = devices[0]
        self._module, _ = self._folder.module(self._task.auto, device, self._task.spare)
        self._streams = CudaStreams(device) if device.startswith("cuda") and self._task.ahead else None
        if getattr(self._module.config, "pad_token_id", None) is None:
            self._module.config.pad_token_id = self._pad()  # classifiers on decoders use it to find the last token
        generation = getattr(self._module, "generation_config", None)
        if generation is not None and generation.pad_token_id is None:
            generation.pad_token_id = self._pad()
        if device.startswith("cuda"):
            _disable_cudnn_attention()
        if self._streams is not None:
            self._rehearse()

    def _rehearse(self) -> None:
        # libraries start and kernels load at their first use, which would delay the first split by half a second
        words = [" ".join(["word"] * count) for count in range(1, 1 + _REHEARSED)]
        with contextlib.suppress(
            Exception
        ):  # an error comes back with the first split, where the rows that cause it can be found
            rows = self.prepare(pa.table({self._column: words}))
            for _ in range(STREAMS):
                self.infer(rows)

    def cost(self, prepared: pa.Table) -> np.ndarray:
        """Tokens per row, shape (rows,)."""
        column = prepared.column(IDS)
        if types.is_list(column.type.value_type):  # a row has several sequences, padded to the longest of them
            count = lengths(column)
            longest = np.maximum.reduceat(lengths(flattened(column)), np.concatenate([[0], np.cumsum(count)[:-1]]))
            return np.asarray(count * longest, dtype=np.float64)
        return np.asarray(lengths(column) + self._task.added_tokens(), dtype=np.float64)

    def infer(self, batch: pa.Table) -> pa.Table:
        """The task's columns."""
        return self.begin(batch)()

    def begin(self, batch: pa.Table) -> Callable[[], pa.Table]:
        """See `Ahead.begin`. On a GPU this call queues all work; on CPUs the returned call does all work."""
        if self._module is None:
            raise Fatal(f"{self._folder.name}: infer() was called before load()")
        if self._streams is None:
            return lambda: self._forward(batch)()
        with self._streams.next():
            return self._forward(batch)

    def _forward(self, batch: pa.Table) -> Callable[[], pa.Table]:
        import torch

        left = self._task.pad_left
        ids, mask = padded(flattened(batch.column(IDS)), self._pad(), left=left)
        arrays = {"input_ids": ids, "attention_mask": mask}
        if TYPES in batch.column_names:
            arrays["token_type_ids"] = padded(flattened(batch.column(TYPES)), 0, left=left)[0]
        inputs = {name: to_device(array, self._device) for name, array in arrays.items()}
        text = batch.column(self._column)
        with torch.inference_mode():
            outputs = to_host(self._task.run(Work(self._module, self._loaded_tokenizer(), inputs, batch, text)))
        config = self._module.config
        return lambda: pa.table(self._task.answer(outputs(), config))

    def _loaded_tokenizer(self) -> Any:
        if self._tokenizer is None:
            # An actor has few cores, and the tokenizer would start a thread for each core of the host.
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
            self._tokenizer = self._folder.auto("AutoTokenizer")
        return self._tokenizer

    def _pad(self) -> int:
        tokenizer = self._loaded_tokenizer()
        candidates = (tokenizer.pad_token_id, tokenizer.eos_token_id)
        return next((int(token) for token in candidates if token is not None), 0)

    def _max_length(self) -> int:
        if self._limit is None:
            option = self._options.get("max_length")
            self._limit = self._model_limit() if option is None else int(option)
            if self._limit < 1:
                raise ConfigError(f"model.options.max_length: {option} leaves no token; write 1 or more")
        return self._limit

    def _model_limit(self) -> int:
        config = self._folder.auto("AutoConfig")
        limits = [int(self._loaded_tokenizer().model_max_length)]
        positions = getattr(config, "max_position_embeddings", None)
        if isinstance(positions, int) and positions > 0:
            offset = (config.pad_token_id or 0) + 1 if config.model_type in _OFFSET_POSITIONS else 0
            limits.append(positions - offset)
        sentence = self._folder.sentence_config().get("max_seq_length")
        if sentence:
            limits.append(int(sentence))
        return max(1, min(limits) - self._task.added_tokens())


def _disable_cudnn_attention() -> None:
    """Disable cuDNN's attention, which torch prefers on newer GPUs.

    It plans for a tenth of a second at each new shape, and almost every micro-batch of texts has a new shape. The other
    kernels do not plan.
    """
    import torch

    torch.backends.cuda.enable_cudnn_sdp(False)
