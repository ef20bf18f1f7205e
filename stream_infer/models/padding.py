"""Padded arrays from Arrow lists of token ids."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types


def lengths(column: pa.ChunkedArray) -> np.ndarray:
    """Values per row, shape (rows,)."""
    return np.asarray(pc.list_value_length(column).to_numpy(), dtype=np.int64)


def one_array(column: pa.ChunkedArray) -> pa.Array:
    """The column as one chunk."""
    return column.combine_chunks() if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def flattened(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The inner lists of a column of lists of lists; a column of lists of numbers unchanged."""
    if not types.is_list(column.type.value_type):
        return column
    return pa.chunked_array([chunk.flatten() for chunk in column.chunks], column.type.value_type)


def padded(column: pa.ChunkedArray, value: int, *, left: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Rows of int64 padded with ``value`` to the longest row, and the mask of the real values; both (rows, longest)."""
    size = lengths(column)
    width = max(1, int(size.max(initial=0)))
    columns = np.arange(width)[None, :]
    mask = columns >= width - size[:, None] if left else columns < size[:, None]
    rows = np.full(mask.shape, value, dtype=np.int64)
    rows[mask] = pc.list_flatten(column).to_numpy()
    return rows, mask.astype(np.int64)
