"""Shrink a large matrix to a small image without copying it."""

import numpy as np
from scipy import sparse


def block_means(matrix, order, n_blocks):
    """Average the absolute values of a permuted matrix over square blocks.

    Parameters
    ----------
    matrix : ndarray or sparse array of shape (n, n)
        Square matrix.
    order : ndarray of shape (n,)
        Rows and columns in the order of the result.
    n_blocks : int
        Blocks of rows, and of columns, at most n.

    Returns
    -------
    means : ndarray of shape (n_blocks, n_blocks)
        Mean of each block.

    Notes
    -----
    A sparse matrix is read entry by entry, a dense one a block of rows at a time.
    """
    n = len(order)
    if n == 0:
        return np.zeros((1, 1))
    borders = np.arange(n_blocks + 1) * n // n_blocks
    sizes = np.diff(borders)
    block = np.empty(n, dtype=np.int64)
    block[order] = np.repeat(np.arange(n_blocks), sizes)
    if sparse.issparse(matrix):
        links = sparse.coo_array(matrix)
        row, column = links.coords
        sums = np.bincount(
            block[row] * n_blocks + block[column],
            np.abs(links.data),
            minlength=n_blocks**2,
        ).reshape(n_blocks, n_blocks)
    else:
        matrix = np.asarray(matrix)
        sums = np.zeros((n_blocks, n_blocks))
        for i in range(n_blocks):
            rows = order[borders[i] : borders[i + 1]]
            columns = np.abs(matrix[rows]).sum(axis=0, dtype=np.float64)
            sums[i] = np.add.reduceat(columns[order], borders[:-1])
    return sums / np.outer(sizes, sizes)
