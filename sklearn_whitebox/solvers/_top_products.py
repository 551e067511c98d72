"""The entries of largest modulus of each row of a symmetric matrix of products."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sklearn_whitebox._threads import run_blocks

Array = NDArray[np.floating]
Columns = NDArray[np.int32]

# A tile of products stays in the cache between its computation and its only reading.
# Constants, so that the last bits do not depend on the number of threads.
_TILE_ROWS = 512
_TILE_COLUMNS = 2048

# Entries that are compared with the thresholds before any of them is looked at.
_CHUNK = 64


class Largest(NamedTuple):
    """The entries of largest modulus of each row, the largest first.

    Parameters
    ----------
    columns : ndarray of shape (n_rows, n_largest)
        Columns, -1 where a row has fewer entries that are not zero.
    values : ndarray of shape (n_rows, n_largest)
        Entries with their signs.
    """

    columns: Columns
    values: Array


def largest_products(
    left: Array, right: Array, n_largest: int, *, n_jobs: int | None = None
) -> Largest:
    """Find the largest off-diagonal entries of each row of a symmetric product.

    Parameters
    ----------
    left, right : ndarray of shape (n_rows, n_features)
        Factors such that ``left @ right.T`` is symmetric but for rounding.
    n_largest : int
        Entries of a row to keep, those of largest modulus; of equal ones those in the
        first columns.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.

    Returns
    -------
    largest : Largest
        Columns and entries.

    Notes
    -----
    Computes each pair once, in tiles that are compared with the least entry kept so
    far of either row: O(n² d) for the products, half of a full matrix, and a few
    percent on top for the selection. Memory is a tile and n × n_largest entries a
    thread.
    """
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)

    def tile(rows: slice, columns: slice, out: Array) -> Array:
        product: Array = np.matmul(left[rows], right[columns].T, out=out)
        return product

    return _largest(len(left), left.dtype, tile, n_largest, n_jobs)


def largest_entries(
    matrix: Array, n_largest: int, *, n_jobs: int | None = None
) -> Largest:
    """Find the largest off-diagonal entries of each row of a symmetric matrix.

    Parameters
    ----------
    matrix : ndarray of shape (n_rows, n_rows)
        Symmetric matrix.
    n_largest : int
        Entries of a row to keep, as in :func:`largest_products`.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.

    Returns
    -------
    largest : Largest
        Columns and entries.
    """

    def tile(rows: slice, columns: slice, out: Array) -> Array:
        out[:] = matrix[rows, columns]
        return out

    return _largest(len(matrix), matrix.dtype, tile, n_largest, n_jobs)


def _largest(
    n_rows: int,
    dtype: np.dtype[np.floating],
    tile: Callable[[slice, slice, Array], Array],
    n_largest: int,
    n_jobs: int | None,
) -> Largest:
    width = max(0, min(n_largest, n_rows - 1))
    workers = [_Selection(n_rows, width, dtype)]
    pool: deque[_Selection] = deque(workers)

    def scan_rows(start: int) -> None:
        try:
            worker = pool.pop()
        except IndexError:
            worker = _Selection(n_rows, width, dtype)
            workers.append(worker)
        worker.scan_rows(start, tile)
        pool.append(worker)

    if width:
        # A thread remembers what it has found; tasks elsewhere would have to send it.
        starts = [(start,) for start in range(0, n_rows, _TILE_ROWS)]
        run_blocks(scan_rows, starts, n_jobs=n_jobs, in_place=True, batch_size=1)
    first, *others = workers
    for other in others:
        _merge(first.columns, first.values, other.columns, other.values)
    return Largest(first.columns, first.values)


class _Selection:
    """What one thread has found so far."""

    def __init__(self, n_rows: int, width: int, dtype: np.dtype[np.floating]) -> None:
        self.columns = np.full((n_rows, width), -1, np.int32)
        self.values = np.zeros((n_rows, width), dtype)
        self._thresholds = np.zeros(n_rows, dtype)
        rows, columns = min(_TILE_ROWS, n_rows), min(_TILE_COLUMNS, n_rows)
        self._memory = np.empty(rows * columns, dtype)

    def scan_rows(
        self, start: int, tile: Callable[[slice, slice, Array], Array]
    ) -> None:
        """Look at the pairs of some rows with themselves and all later rows."""
        n_rows = len(self.columns)
        rows = slice(start, min(start + _TILE_ROWS, n_rows))
        height = rows.stop - rows.start
        for first in range(start, n_rows, _TILE_COLUMNS):
            columns = slice(first, min(first + _TILE_COLUMNS, n_rows))
            width = columns.stop - columns.start
            out = self._memory[: height * width].reshape(height, width)
            _select(
                tile(rows, columns, out), start, first, self._thresholds, self.columns,
                self.values,
            )  # fmt: skip


@njit(nogil=True, cache=True, error_model="numpy")
def _select(
    products: Array,
    first_row: int,
    first_column: int,
    thresholds: Array,
    columns: Columns,
    values: Array,
) -> None:
    """Offer each entry above the diagonal to its row and to its column's row."""
    n_columns = products.shape[1]
    for a in range(products.shape[0]):
        i = first_row + a
        row = products[a]
        # Entries below the diagonal would repeat those above, with other rounding.
        begin = max(0, i + 1 - first_column)
        for start in range(begin, n_columns, _CHUNK):
            stop = min(start + _CHUNK, n_columns)
            least = thresholds[i]
            n_hits = np.int32(0)
            for b in range(start, stop):
                height = abs(row[b])
                limit = min(least, thresholds[first_column + b])
                n_hits += np.int32(height >= limit)
            if n_hits == 0:
                continue
            for b in range(start, stop):
                j = first_column + b
                height = abs(row[b])
                if height >= thresholds[i]:
                    insert(columns[i], values[i], row[b], j)
                    thresholds[i] = abs(values[i, -1])
                if height >= thresholds[j]:
                    insert(columns[j], values[j], row[b], i)
                    thresholds[j] = abs(values[j, -1])


@njit(nogil=True, cache=True, error_model="numpy")
def insert(columns: Columns, values: Array, value: float, j: int) -> None:
    """Put an entry in its place, if it belongs to the largest.

    The order is total, by modulus and then by column, so that the outcome does not
    depend on the order of the offers.
    """
    last = columns.shape[0] - 1
    height = abs(value)
    if height < abs(values[last]) or height == 0:
        return
    if height == abs(values[last]) and columns[last] < j:
        return
    k = last
    while k > 0:
        above = abs(values[k - 1])
        if above > height or (above == height and columns[k - 1] < j):
            break
        values[k], columns[k] = values[k - 1], columns[k - 1]
        k -= 1
    values[k], columns[k] = value, j


@njit(nogil=True, cache=True, error_model="numpy")
def _merge(
    columns: Columns, values: Array, more_columns: Columns, more_values: Array
) -> None:
    """Offer what another thread has found."""
    for i in range(more_columns.shape[0]):
        for k in range(more_columns.shape[1]):
            if more_columns[i, k] >= 0:
                insert(columns[i], values[i], more_values[i, k], more_columns[i, k])


@njit(nogil=True, cache=True, error_model="numpy")
def highest(score: Array, least: float, picked: Columns, pulls: Array) -> int:
    """Write where the highest scores above a level are; return how many.

    The last score is not looked at.
    """
    n = score.shape[0] - 1
    picked[:] = -1
    pulls[:] = 0
    bar = np.float32(max(least, 0.0))
    for start in range(0, n, _CHUNK):
        stop = min(start + _CHUNK, n)
        n_hits = np.int32(0)
        for j in range(start, stop):
            n_hits += np.int32(score[j] > bar)
        if n_hits == 0:
            continue
        for j in range(start, stop):
            if score[j] > bar:
                insert(picked, pulls, score[j], j)
                bar = max(bar, pulls[-1])
    count = 0
    while count < picked.shape[0] and picked[count] >= 0:
        count += 1
    return count


@njit(nogil=True, cache=True, error_model="numpy")
def all_above(score: Array, least: float, found: Columns) -> int:
    """Write where the scores above a level are, as many as there is room for.

    The last score is not looked at. Returns how many there are.
    """
    n = score.shape[0] - 1
    bar = np.float32(max(least, 0.0))
    count = 0
    for j in range(n):
        if score[j] >= bar:
            if count < found.shape[0]:
                found[count] = j
            count += 1
    return count
