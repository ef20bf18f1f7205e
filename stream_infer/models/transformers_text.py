"""Hugging Face models that read text: tokens are made on CPUs, the device sees tensors only."""

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
from stream_infer.models.text_tasks import IDS, TYPES, TextTask, Work, text_task

# families whose first position is pad_token_id + 1, so that fewer positions than configured hold tokens
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

_REHEARSED = 64  # rows, and tokens of the longest


class TextModel(BatchedModel):
    """One of the text tasks of `stream_infer.models.text_tasks`.

    `prepare` adds ``__input_ids`` (list<int32>, truncated, with special tokens, not padded) and what else the task
    needs; a row costs its tokens, and those it will generate.

    Raises:
        ConfigError: no such folder, no safetensors weights, or an option the task does not know.
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
        """Bytes of the safetensors files, None before they were fetched."""
        return self._folder.weights

    @property
    def reads(self) -> frozenset[str]:
        """``__input_ids``, ``__token_type_ids``, the task's own, and the text."""
        return frozenset({IDS, TYPES, self._column}) | self._task.extra

    def prepare(self, records: pa.Table) -> pa.Table:
        """The records with their tokens. Numbers, dates and UTF-8 bytes become text; what is none, or null, raises
        RejectRecord."""
        column = input_column(records, self._column, self._folder.name)
        table = records
        if not (types.is_string(column.type) or types.is_large_string(column.type)):
            column = self._as_text(column)
            table = table.set_column(table.column_names.index(self._column), self._column, column)
        for name, values in self._encoded(column.to_pylist()).items():
            table = table.append_column(name, values)
        return table

    def _as_text(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        # CSV and JSON take their types from the data, so that a text of digits alone comes as a number
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
        # a tokenizer without special tokens gives nothing for an empty text, and no network takes nothing
        start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
        if start is None:
            raise RejectRecord("the text has no tokens", reason="empty")
        filler = {IDS: [start], TYPES: [0]}
        return {
            name: pa.array([row or filler.get(name, []) for row in values.to_pylist()], values.type)
            for name, values in columns.items()
        }

    def warm(self) -> None:
        """The tokenizer."""
        self._loaded_tokenizer()

    def load(self, devices: Sequence[str]) -> None:
        """Load the weights onto the first device.

        Raises:
            ConfigError: the folder lacks weights the task needs.
        """
        super().load(devices)
        device = devices[0]
        self._module, _ = self._folder.module(self._task.auto, device, self._task.spare)
        self._streams = CudaStreams(device) if device.startswith("cuda") and self._task.ahead else None
        if getattr(self._module.config, "pad_token_id", None) is None:
            self._module.config.pad_token_id = self._pad()  # classifiers on decoders find the last token by it
        generation = getattr(self._module, "generation_config", None)
        if generation is not None and generation.pad_token_id is None:
            generation.pad_token_id = self._pad()
        if device.startswith("cuda"):
            _plan_no_attention()
        if self._streams is not None:
            self._rehearse()

    def _rehearse(self) -> None:
        # libraries start and kernels load at their first use, half a second that the first split would pay for
        words = [" ".join(["word"] * count) for count in range(1, 1 + _REHEARSED)]
        with contextlib.suppress(Exception):  # the first split tells, and has its rows to halve
            rows = self.prepare(pa.table({self._column: words}))
            for _ in range(STREAMS):
                self.infer(rows)

    def cost(self, prepared: pa.Table) -> np.ndarray:
        """Tokens per row, shape (rows,)."""
        column = prepared.column(IDS)
        if types.is_list(column.type.value_type):  # several sequences a row, padded to the longest of them
            count = lengths(column)
            longest = np.maximum.reduceat(lengths(flattened(column)), np.concatenate([[0], np.cumsum(count)[:-1]]))
            return np.asarray(count * longest, dtype=np.float64)
        return np.asarray(lengths(column) + self._task.added_tokens(), dtype=np.float64)

    def infer(self, batch: pa.Table) -> pa.Table:
        """The task's columns."""
        return self.begin(batch)()

    def begin(self, batch: pa.Table) -> Callable[[], pa.Table]:
        """See `Ahead.begin`: on a GPU all is queued, on CPUs all is left to the second half."""
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
            # An actor owns few cores: one tokenizer thread a core of the host would fight with its neighbours.
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
            self._tokenizer = self._folder.auto("AutoTokenizer")
        return self._tokenizer

    def _pad(self) -> int:
        tokenizer = self._loaded_tokenizer()
        candidates = (tokenizer.pad_token_id, tokenizer.eos_token_id)
        return next((int(token) for token in candidates if token is not None), 0)

    def _max_length(self) -> int:
        if self._limit is None:
            asked = self._options.get("max_length")
            self._limit = self._model_limit() if asked is None else int(asked)
            if self._limit < 1:
                raise ConfigError(f"model.options.max_length: {asked} leaves no token; write 1 or more")
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


def _plan_no_attention() -> None:
    """cuDNN's attention, torch's first choice on newer GPUs, plans for a tenth of a second at each new shape, and texts
    give every micro-batch a new one. The other kernels plan nothing."""
    import torch

    torch.backends.cuda.enable_cudnn_sdp(False)
