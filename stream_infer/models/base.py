"""Helpers of all kinds of models: digests, devices, user classes, and conversion of results to Arrow."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from stream_infer.errors import ConfigError, Fatal, RejectRecord
from stream_infer.records import RESERVED
from stream_infer.search_path import load_named

_CHUNK = 4 * 2**20


class Deferred:
    """Base class that pickles without the attributes in ``_transient``, which each process builds at their first use."""

    _transient: ClassVar[tuple[str, ...]] = ()

    def warm(self) -> None:
        """Load nothing, unless a model overrides it."""
        return

    @property
    def weights(self) -> int | None:
        """Unknown, unless a model overrides it."""
        return None

    def __getstate__(self) -> dict[str, Any]:
        return {key: None if key in self._transient else value for key, value in self.__dict__.items()}


def digest(files: Iterable[Path], root: Path | None, settings: Mapping[str, Any]) -> str:
    """Hex BLAKE2b over the files (name under ``root``, content) and the settings that change the answers."""
    whole = hashlib.blake2b(digest_size=16)
    for file in sorted(files):
        stat = file.stat()
        name = file.relative_to(root).as_posix() if root else file.name
        whole.update(f"{name}\0{_file_digest(str(file), stat.st_size, stat.st_mtime_ns)}\n".encode())
    whole.update(json.dumps(dict(settings), sort_keys=True, default=str).encode())
    return whole.hexdigest()


@functools.lru_cache(maxsize=4096)
def _file_digest(path: str, size: int, modified: int) -> str:
    # size and mtime are only keys of the cache: weights are tens of GB, and a process needs the digest several times
    content = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            content.update(chunk)
    return content.hexdigest()


def torch_dtype(setting: str, device: str) -> Any:
    """The torch dtype for a setting; ``auto`` is bfloat16 (or float16 on older GPUs) on CUDA, float32 elsewhere."""
    import torch

    if setting != "auto":
        return getattr(torch, setting)
    if not device.startswith("cuda"):
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def to_device(array: np.ndarray, device: str, dtype: Any = None) -> Any:
    """A torch tensor of the array on the device; pinned and asynchronous on CUDA. Always a copy."""
    import torch

    tensor = torch.tensor(array, dtype=dtype)
    if device.startswith("cuda"):
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor


def user_class(path: str, folders: Sequence[str], options: Mapping[str, Any]) -> type:
    """The class ``package.module:Class``, with the modules in the folders importable.

    Raises:
        ConfigError: there is no such class, or its constructor does not accept the options.
    """
    module_name, _, name = path.partition(":")
    try:
        cls = load_named(path, folders)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"model.python: cannot import {module_name!r} ({error}); install it or start in its folder"
        ) from None
    except AttributeError:
        raise ConfigError(f"model.python: module {module_name!r} has no {name!r}; write package.module:Class") from None
    if not inspect.isclass(cls):
        raise ConfigError(f"model.python: {path!r} is no class; write package.module:Class")
    try:
        inspect.signature(cls).bind(**options)
    except TypeError as error:
        raise ConfigError(f"model.options: {name} does not take them ({error}); see its constructor") from None
    except ValueError:
        return cls  # a class of C code has no signature and reports wrong options at its construction
    return cls


def source_files(cls: type) -> list[Path]:
    """The file that defines the class; empty if there is none."""
    try:
        file = inspect.getsourcefile(cls)
    except TypeError:
        return []
    return [Path(file)] if file and os.path.isfile(file) else []


def unknown_options(options: Mapping[str, Any], allowed: Iterable[str], task: str) -> None:
    """Raise ConfigError if the task lacks one of the options."""
    names = sorted(allowed)
    for name in options:
        if name not in names:
            raise ConfigError(f"model.options.{name}: {task} has no such option; it knows {', '.join(names)}")


def input_column(records: pa.Table, name: str, model: str) -> pa.ChunkedArray:
    """The input column of a model.

    Raises:
        RejectRecord: the records have no such column (what columns there are is up to the data: a JSON object may lack
            a key), or a row holds null.
    """
    if name not in records.column_names:
        columns = ", ".join(content for content in records.column_names if content not in RESERVED)
        raise RejectRecord(
            f"{model} reads column {name!r}, which the record does not have; set model.input to one of {columns}",
            reason="no_input",
        )
    column = records.column(name)
    if column.null_count:
        raise RejectRecord(f"the {name} is null", reason="null")
    return column


def to_arrow(values: Any) -> pa.Array | pa.ChunkedArray:
    """An Arrow column from Arrow data, a tensor, an array of shape (rows, …) or a list.

    Inner dimensions of floats become fixed-size lists of float32; a column of single numbers keeps float64.
    """
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    if type(values).__module__.partition(".")[0] == "torch":
        tensor = values.detach().cpu()
        # numpy has no bfloat16, and Parquet readers seldom know float16
        values = (tensor.float() if tensor.is_floating_point() and tensor.itemsize < 4 else tensor).numpy()
    if isinstance(values, np.ndarray) and values.dtype != object:
        return _array_to_arrow(values)
    return pa.array(list(values))


def _array_to_arrow(array: np.ndarray) -> pa.Array:
    if array.ndim == 0:
        raise ValueError("a single number is no column; return one value a row")
    if array.dtype.kind == "f" and (array.ndim > 1 or array.itemsize < 4):
        array = array.astype(np.float32, copy=False)
    column = pa.array(np.ascontiguousarray(array).reshape(-1))
    for index in range(array.ndim - 1, 0, -1):
        size = array.shape[index]
        count = int(np.prod(array.shape[:index]))
        kind = pa.list_(column.type, size)
        column = pa.FixedSizeListArray.from_arrays(column, type=kind) if size else pa.array([[]] * count, kind)
    return column


def to_table(result: Any, model: str) -> pa.Table:
    """The result of user code as a table. It may be a table, batch, data frame, dict of columns, or one column ``output``.

    Raises:
        Fatal: the result is none of these, or its columns differ in length.
    """
    if isinstance(result, pa.Table):
        return result
    if isinstance(result, pa.RecordBatch):
        return pa.Table.from_batches([result])
    if type(result).__module__.partition(".")[0] == "pandas" and hasattr(result, "columns"):
        return pa.Table.from_pandas(result, preserve_index=False).replace_schema_metadata(None)
    if isinstance(result, Mapping):
        columns = {str(name): to_arrow(values) for name, values in result.items()}
        if len({len(column) for column in columns.values()}) > 1:
            lengths = ", ".join(f"{name}: {len(column)}" for name, column in columns.items())
            raise Fatal(f"{model} returned columns of different lengths ({lengths}); return one value a row in each")
        return pa.table(columns)
    if result is None or isinstance(result, str | bytes):
        raise Fatal(f"{model} returned {type(result).__name__}; return a table, a dict of columns or a list")
    return pa.table({"output": to_arrow(result)})
