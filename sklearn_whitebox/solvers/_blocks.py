"""Products of many rows whose results do not depend on how many rows there are."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Rows of one product. Fixed: a product of few rows is added up in another order than
# that of many, and results for a sample would depend on the others.
BLOCK = 128

Array = NDArray[Any]


def block_product(X: Array, M: Array) -> Array:
    """Multiply a block of rows with a matrix, as if it were full.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n)
        At most 128 rows.
    M : ndarray of shape (n, m)
        Matrix.

    Returns
    -------
    product : ndarray of shape (n_rows, m)
        Each row depends on the same row of `X` alone, to the last bit.
    """
    if len(X) == BLOCK:
        return np.asarray(X @ M)
    padded = np.zeros((BLOCK, X.shape[1]), X.dtype)
    padded[: len(X)] = X
    return np.asarray((padded @ M)[: len(X)])


def row_product(X: Array, M: Array) -> Array:
    """Multiply rows with a matrix, block by block.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n)
        Any number of rows.
    M : ndarray of shape (n, m)
        Matrix.

    Returns
    -------
    product : ndarray of shape (n_rows, m)
        Each row depends on the same row of `X` alone, to the last bit.
    """
    product = np.empty((len(X), M.shape[1]), np.result_type(X, M))
    for start in range(0, len(X), BLOCK):
        rows = slice(start, start + BLOCK)
        product[rows] = block_product(X[rows], M)
    return product
