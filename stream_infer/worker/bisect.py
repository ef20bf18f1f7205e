"""Find the records that make a function raise, and deliver the others."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from stream_infer.errors import Fatal, Retryable

Failures = list[tuple[int, Exception]]


def bisect_failures(function: Callable[[pa.Table], pa.Table], rows: pa.Table) -> tuple[pa.Table, Failures]:
    """Apply ``function`` to the rows, and halve them where it raises until the rows that cause it are single.

    k bad rows of n take about k·log2(n) more calls; without bad rows there is one call.

    Args:
        function: returns a table with the same rows, in the same order.

    Returns:
        The results of the good rows in order, and (row index, error) of the others.

    Raises:
        Retryable, Fatal, MemoryError: from the function; no record causes these.
    """
    results: list[pa.Table] = []
    failures: Failures = []
    pending = [(0, rows.num_rows)]
    while pending:
        start, stop = pending.pop()
        piece = rows.slice(start, stop - start)
        try:
            results.append(_same_rows(function(piece), piece))
        except (Retryable, Fatal, MemoryError):
            raise
        except Exception as error:
            if stop - start <= 1:
                failures.append((start, error))
            else:
                middle = (start + stop) // 2
                pending += [(middle, stop), (start, middle)]
    if not results:
        return rows.slice(0, 0), failures
    return pa.concat_tables(results, promote_options="permissive"), failures


def _same_rows(result: pa.Table, rows: pa.Table) -> pa.Table:
    if not isinstance(result, pa.Table):
        raise Fatal(f"the preprocessor returned {type(result).__name__}; it must return a pyarrow Table")
    if result.num_rows != rows.num_rows:
        raise Fatal(
            f"the preprocessor returned {result.num_rows} rows for {rows.num_rows}; it must keep every row, in order"
        )
    return result
