"""The model kind ``torch``: a torch module of the user with safetensors weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from stream_infer.errors import ConfigError, Fatal, RejectRecord
from stream_infer.models.base import (
    digest,
    input_column,
    source_files,
    to_device,
    to_table,
    torch_dtype,
    user_class,
)
from stream_infer.models.batching import BatchedModel
from stream_infer.models.python_model import reads_of, with_prepared
from stream_infer.models.settings import TorchModel
from stream_infer.records import RESERVED
from stream_infer.search_path import search_path


class ModuleModel(BatchedModel):
    """Runs a ``torch.nn.Module`` on one numeric column, stacked to a float tensor of shape (rows, …).

    The module is constructed with ``model.options``. Its method ``prepare(records)``, if any, runs in the CPU stage on an
    instance without weights and returns a table, or columns to add. Its method ``cost(prepared)``, if any, returns the cost
    of each row. A tensor (rows, d) becomes column ``output``, fixed_size_list<float32>(d); a dict has a column for each key.
    The input column is ``model.input``, else ``input``, ``image``, or the first numeric or list column of content.

    Raises:
        ConfigError: there is no such class or no safetensors file of weights, or the class does not accept the options.
    """

    _transient = ("_without_weights", "_module")

    def __init__(self, settings: TorchModel) -> None:
        self._settings = settings
        self._folders = search_path()
        self._weights = Path(settings.weights).expanduser().absolute()
        self._without_weights: Any = None
        self._module: Any = None
        self._identity: str | None = None
        if self._weights.suffix != ".safetensors":
            raise ConfigError(
                f"model.weights: {settings.weights} is no .safetensors file; save it with safetensors.torch.save_file"
            )
        if not self._weights.is_file():
            raise ConfigError(f"model.weights: there is no file {settings.weights}; name the safetensors file")
        cls = self._class()
        self._name = cls.__name__
        self._prepares = hasattr(cls, "prepare")
        self._reads = reads_of(cls)

    def _class(self) -> type:
        import torch

        cls = user_class(self._settings.python, self._folders, self._settings.options)
        if not issubclass(cls, torch.nn.Module):
            raise ConfigError(f"model.python: {cls.__name__} is no torch.nn.Module; use kind: python for other classes")
        return cls

    @property
    def _unloaded(self) -> Any:
        if self._without_weights is None:
            self._without_weights = (
                self._module if self._module is not None else self._class()(**self._settings.options)
            )
        return self._without_weights

    @property
    def identity(self) -> str:
        """``Class@digest`` of weights, source file, options and dtype."""
        if self._identity is None:
            files = [self._weights, *source_files(self._class())]
            shape = self._settings.model_dump(include={"python", "options", "dtype", "input"})
            self._identity = f"{self._name}@{digest(files, None, shape)[:12]}"
        return self._identity

    @property
    def weights(self) -> int:
        """Bytes of the safetensors file."""
        return self._weights.stat().st_size

    @property
    def reads(self) -> frozenset[str] | None:
        """The attribute ``reads`` of the module's class; None (any column) without it."""
        return self._reads

    def prepare(self, records: pa.Table) -> pa.Table:
        """The records after the module's `prepare`; without it unchanged, after a check that the input column has no null."""
        if not self._prepares:
            input_column(records, self._column(records), self._name)
            return records
        return with_prepared(records, self._unloaded.prepare(records), self._name)

    def load(self, devices: Sequence[str]) -> None:
        """Construct the module and load its weights, all of them and no others.

        Raises:
            ConfigError: the weights do not fit the module.
        """
        from safetensors.torch import load_file

        module = self._class()(**self._settings.options)
        try:
            module.load_state_dict(load_file(self._weights), strict=True)
        except Exception as error:  # safetensors raises its own class for a damaged file
            reason = " ".join(str(error).split())[:300]
            raise ConfigError(f"model.weights: {self._weights.name} does not fit {self._name} ({reason})") from None
        super().load(devices)
        dtype = torch_dtype(self._settings.dtype, self._device)
        self._module = module.to(device=self._device, dtype=dtype).eval()

    def cost(self, prepared: pa.Table) -> np.ndarray:
        """Cost per row, shape (rows,): from the module's `cost`, else the length of a variable list, else 1."""
        if hasattr(self._unloaded, "cost"):
            return np.asarray(self._unloaded.cost(prepared), dtype=np.float64)
        column = prepared.column(self._column(prepared))
        if types.is_list(column.type) or types.is_large_list(column.type):
            return np.asarray(pc.list_value_length(column), dtype=np.float64)
        return np.ones(prepared.num_rows)

    def infer(self, batch: pa.Table) -> pa.Table:
        """The module's result as a table, with floats as float32."""
        import torch

        if self._module is None:
            raise Fatal(f"{self._name}: infer() was called before load()")
        array = stacked(input_column(batch, self._column(batch), self._name))
        dtype = torch_dtype(self._settings.dtype, self._device)
        with torch.inference_mode():
            return to_table(self._module(to_device(array, self._device, dtype)), self._name)

    def _column(self, table: pa.Table) -> str:
        if self._settings.input is not None:
            return self._settings.input
        numeric: list[str] = [f.name for f in table.schema if f.name not in RESERVED and _is_numeric(f.type)]
        for name in ("input", "image", *numeric[:1]):
            if name in numeric:
                return name
        columns = ", ".join(table.column_names)
        raise RejectRecord(
            f"{self._name} found no numeric column among {columns}; set model.input or give the module a prepare()",
            reason="no_input",
        )


def _is_numeric(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.FixedShapeTensorType):
        return True
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _is_numeric(kind.value_type)
    return bool(types.is_integer(kind) or types.is_floating(kind))


def stacked(column: pa.ChunkedArray) -> np.ndarray:
    """The column as a float32 array of shape (rows, …).

    Raises:
        ValueError: the lists differ in length or hold nulls.
    """
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # older pyarrow keeps chunks here
        array = pa.concat_arrays(array.chunks)
    shape = [len(array)]
    if isinstance(array.type, pa.FixedShapeTensorType):
        return np.asarray(array.to_numpy_ndarray(), dtype=np.float32)
    while types.is_list(array.type) or types.is_large_list(array.type) or types.is_fixed_size_list(array.type):
        lengths = np.unique(pc.list_value_length(array).to_numpy(zero_copy_only=False))
        if len(lengths) > 1:
            raise ValueError("the lists of one batch differ in length")
        shape.append(int(lengths[0]) if len(lengths) else 0)
        array = array.flatten()
    if array.null_count:
        raise ValueError("a list holds a null")
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=np.float32).reshape(shape)
