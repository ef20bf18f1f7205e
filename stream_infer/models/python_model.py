"""The model kind ``python``: any class of the user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from stream_infer.errors import ConfigError, Fatal
from stream_infer.models.base import digest, source_files, to_table, user_class
from stream_infer.models.batching import BatchedModel
from stream_infer.models.settings import PythonModel
from stream_infer.records import RECORD_COLUMNS
from stream_infer.search_path import search_path


class UserModel(BatchedModel):
    """Adapter of a class with ``infer(batch)`` and, optionally, ``load(device)``, ``prepare(records)`` and ``cost(prepared)``.

    The class is constructed with ``model.options``, once in each process. Its methods get and return pyarrow Tables; `infer`
    may also return a dict of columns (lists, numpy arrays, tensors), a data frame, or a list, which becomes column
    ``output``. The class attribute ``reads`` may name the columns that `cost` and `infer` need; then the other columns (such
    as an image that `prepare` made smaller) do not travel to the device.

    Raises:
        ConfigError: there is no such class, it has no ``infer``, or it does not accept the options.
    """

    _transient = ("_instance",)

    def __init__(self, settings: PythonModel) -> None:
        self._settings = settings
        self._folders = search_path()
        self._instance: Any = None
        cls = self._class()
        if not callable(getattr(cls, "infer", None)):
            raise ConfigError(f"model.python: {cls.__name__} has no infer(self, batch); write one")
        self._name = cls.__name__
        shape = {"python": settings.python, "input": settings.input, "options": settings.options}
        self._identity = f"{self._name}@{digest(source_files(cls), None, shape)[:12]}"
        self._reads = reads_of(cls)

    def _class(self) -> type:
        return user_class(self._settings.python, self._folders, self._settings.options)

    @property
    def _user(self) -> Any:
        if self._instance is None:
            self._instance = self._class()(**self._settings.options)
        return self._instance

    @property
    def identity(self) -> str:
        """``Class@digest`` of the class's source file and its options."""
        return self._identity

    @property
    def reads(self) -> frozenset[str] | None:
        """The attribute ``reads`` of the class; None (any column) without it."""
        return self._reads

    def prepare(self, records: pa.Table) -> pa.Table:
        """The records after the user's `prepare`; see `with_prepared`."""
        if not hasattr(self._user, "prepare"):
            return records
        return with_prepared(records, self._user.prepare(records), self._name)

    def load(self, devices: Sequence[str]) -> None:
        """Call the user's ``load(device)``, if there is one, with the first device."""
        super().load(devices)
        if hasattr(self._user, "load"):
            self._user.load(self._device)

    def cost(self, prepared: pa.Table) -> np.ndarray:
        """Cost per row from the user's `cost`, shape (rows,); without it 1 for each row."""
        if hasattr(self._user, "cost"):
            return np.asarray(self._user.cost(prepared), dtype=np.float64)
        return np.ones(prepared.num_rows)

    def infer(self, batch: pa.Table) -> pa.Table:
        """The result of the user's `infer` as a table."""
        return to_table(self._user.infer(batch), self._name)


def reads_of(cls: type) -> frozenset[str] | None:
    """The columns in the attribute ``reads`` of a user's class, None without it. Raises ConfigError if it has no names."""
    names = getattr(cls, "reads", None)
    if isinstance(names, str) or not all(isinstance(name, str) for name in names or ()):
        raise ConfigError(f"model.python: {cls.__name__}.reads is {names!r}; write a tuple of column names")
    return None if names is None else frozenset(names)


def with_prepared(records: pa.Table, result: Any, model: str) -> pa.Table:
    """The records after a user's `prepare`: a Table replaces them, columns of any other type are added.

    Raises:
        Fatal: the result has another number of rows, or lacks a provenance column.
    """
    table = to_table(result, model)
    if table.num_rows != records.num_rows:
        raise Fatal(
            f"{model}: prepare() returned {table.num_rows} rows for {records.num_rows}; return one for each, in order"
        )
    if not isinstance(result, pa.Table):
        return added(records, table)
    lost_columns = [name for name in RECORD_COLUMNS if name in records.column_names and name not in table.column_names]
    if lost_columns:
        raise Fatal(f"{model}: prepare() dropped column {lost_columns[0]!r}; append columns to the table it is given")
    return table


def added(records: pa.Table, columns: pa.Table) -> pa.Table:
    """The records with the columns appended; they replace columns of the same names."""
    table = records.drop_columns([name for name in columns.column_names if name in records.column_names])
    for name in columns.column_names:
        table = table.append_column(name, columns.column(name))
    return table
