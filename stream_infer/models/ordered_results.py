"""The answers of micro-batches in the order of the input."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.types as types

from stream_infer.errors import Fatal

_Vectors = dict[str, np.ndarray]


class OrderedResults:
    """Collector of answers for rows in any order; returns them in the order of the input.

    If all columns are vectors of floats, each answer is copied to its final position at once, while a GPU computes the next
    one. Other answers are concatenated and reordered at the end.

    Args:
        count: rows of the input.
        name: name of the model, for errors.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._rows: list[np.ndarray] = []
        self._tables: list[pa.Table] = []
        self._whole: _Vectors | None = None

    def put(self, rows: np.ndarray, answer: pa.Table) -> None:
        """Add the answer for these rows, given as indices of the input."""
        vectors = None if self._tables else _vectors(answer)
        if vectors and not self._rows:
            self._whole = {name: np.empty((self._count, value.shape[1]), np.float32) for name, value in vectors.items()}
        if self._whole is not None and not _fit(self._whole, vectors):
            self._tables.append(_table(self._whole, np.concatenate(self._rows)))
            self._whole = None
        self._rows.append(rows)
        if self._whole is None or vectors is None:
            self._tables.append(answer)
            return
        for name, value in vectors.items():
            self._whole[name][rows] = value

    def finish(self) -> tuple[pa.Table, np.ndarray]:
        """The columns of all rows that were put, and the indices of these rows, ascending.

        Raises:
            Fatal: columns changed their type from one answer to another.
        """
        if not self._rows:
            return pa.table({}), np.empty(0, np.int64)
        rows = np.concatenate(self._rows)
        back = np.argsort(rows)
        if self._whole is not None:
            return _table(self._whole, rows[back] if len(rows) < self._count else None), rows[back]
        try:
            joined = pa.concat_tables(self._tables, promote_options="permissive")
        except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
            reason = str(error).splitlines()[0]
            raise Fatal(
                f"{self._name}: its columns change type between micro-batches ({reason}); fix their types"
            ) from None
        in_place = bool((back == np.arange(len(back))).all())
        return joined if in_place else joined.take(pa.array(back)), rows[back]


def _vectors(answer: pa.Table) -> _Vectors | None:
    """The columns, each of shape (rows, size), if all are vectors of float32 without nulls; else None."""
    vectors: _Vectors = {}
    for name in answer.column_names:
        column = answer.column(name)
        kind = column.type
        if not (types.is_fixed_size_list(kind) and types.is_float32(kind.value_type) and kind.list_size):
            return None
        array = column.combine_chunks() if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
        flat = array.flatten()
        if array.null_count or flat.null_count:
            return None
        vectors[name] = flat.to_numpy().reshape(len(array), kind.list_size)
    return vectors or None


def _fit(whole: _Vectors, vectors: _Vectors | None) -> bool:
    return vectors is not None and {name: value.shape[1] for name, value in whole.items()} == {
        name: value.shape[1] for name, value in vectors.items()
    }


def _table(whole: _Vectors, rows: np.ndarray | None) -> pa.Table:
    columns = {}
    for name, values in whole.items():
        chosen = values if rows is None else values[rows]
        columns[name] = pa.FixedSizeListArray.from_arrays(
            pa.array(chosen.reshape(-1)), type=pa.list_(pa.float32(), values.shape[1])
        )
    return pa.table(columns)
