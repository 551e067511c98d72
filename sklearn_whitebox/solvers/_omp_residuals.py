"""Orthogonal matching pursuit of a block of rows in step, without a Gram matrix."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sklearn_whitebox.solvers._omp_kernels import (
    DEPENDENT,
    NOISE,
    best_atom,
    remove_direction,
    store_sorted,
)

Array = NDArray[np.floating]
Indices = NDArray[np.int64]


def pursue_in_step(
    block: Array,
    limits: Array,
    dictionary: Array,
    squares: Array,
    banned: Indices,
    by_reduction: bool,
    support: NDArray[np.int32],
    codes: Array,
) -> None:
    """Give all rows an atom at a time, so that the products are those of matrices."""
    n_rows, depth = support.shape
    n_atoms = len(dictionary)
    score = np.empty(n_atoms, block.dtype)
    bits = score.view(np.dtype(f"i{score.itemsize}"))
    eps = float(np.finfo(block.dtype).eps)
    floors = (DEPENDENT * eps * squares).astype(block.dtype)
    residual = block.copy()
    basis = np.zeros((n_rows, depth, block.shape[1]), block.dtype)
    triangle = np.zeros((n_rows, depth, depth), block.dtype)
    heights = np.zeros((n_rows, depth), block.dtype)
    norms = np.sqrt(np.einsum("ij,ij->i", block, block))
    alive = norms > np.sqrt(limits)
    noise = NOISE * eps * norms * np.sqrt(max(squares.max(), 0))
    unused = np.where(squares > 0, squares, -1)
    free = np.tile(unused, (n_rows, 1)) if by_reduction else unused[None]
    correlations = block @ dictionary.T if by_reduction else None
    for step in range(depth):
        rows = np.flatnonzero(alive)
        if len(rows) == 0:
            break
        if correlations is None:
            current, places = residual[rows] @ dictionary.T, np.arange(len(rows))
        else:
            if step:
                products = basis[rows, step - 1] @ dictionary.T
                _remove_directions(
                    correlations, free, floors, products, heights[:, step - 1], rows
                )
            current, places = correlations, rows
        _extend(
            current, places, free, by_reduction, rows, banned, dictionary, residual,
            basis, triangle, heights, support, np.sqrt(limits), noise, alive, step,
            eps, score, bits,
        )  # fmt: skip
    _finish(triangle, heights, support, codes)


@njit(nogil=True, cache=True, error_model="numpy")
def _remove_directions(
    correlations: Array,
    free: Array,
    floors: Array,
    products: Array,
    heights: Array,
    rows: Indices,
) -> None:
    for a in range(len(rows)):
        i = rows[a]
        remove_direction(correlations[i], free[i], floors, products[a], heights[i])


@njit(nogil=True, cache=True, error_model="numpy")
def _extend(
    correlations: Array,
    places: Indices,
    free: Array,
    by_reduction: bool,
    rows: Indices,
    banned: Indices,
    dictionary: Array,
    residual: Array,
    basis: Array,
    triangle: Array,
    heights: Array,
    support: NDArray[np.int32],
    limits: Array,
    noise: Array,
    alive: NDArray[np.bool_],
    step: int,
    eps: float,
    score: Array,
    bits: Array,
) -> None:
    """Give each row one more atom and the QR factorisation that goes with it."""
    own = np.empty_like(free[0])
    for a in range(len(rows)):
        i = rows[a]
        c = correlations[places[a]]
        if by_reduction:
            e = free[i]
        else:
            own[:] = free[0]
            e = own
        for j in banned[i]:
            if j >= 0:
                e[j] = -1
        for k in range(step):
            e[support[i, k]] = -1
        alive[i] = False
        j = best_atom(c, e, by_reduction, score, bits)
        while j >= 0:
            e[j] = -1
            if abs(c[j]) > noise[i]:
                if _orthogonalise(dictionary[j], basis[i], triangle[i], step, eps):
                    support[i, step] = j
                    heights[i, step], left = _project(residual[i], basis[i, step])
                    alive[i] = left > limits[i]
                    break
            elif not by_reduction:
                break
            j = best_atom(c, e, by_reduction, score, bits)


@njit(nogil=True, cache=True, error_model="numpy")
def _orthogonalise(
    atom: Array, basis: Array, triangle: Array, step: int, eps: float
) -> bool:
    """Append the atom's new direction to the basis; False if it has none."""
    direction = basis[step]
    direction[:] = atom
    length = _squared_norm(atom)
    triangle[:step, step] = 0
    # Twice is enough: one pass leaves a nearly dependent atom skewed.
    for _ in range(2):
        for k in range(step):
            dot = 0.0
            for f in range(len(atom)):
                dot += basis[k, f] * direction[f]
            triangle[k, step] += dot
            for f in range(len(atom)):
                direction[f] -= dot * basis[k, f]
    rest = _squared_norm(direction)
    if rest <= DEPENDENT * eps * length:
        return False
    triangle[step, step] = np.sqrt(rest)
    for f in range(len(atom)):
        direction[f] /= triangle[step, step]
    return True


@njit(nogil=True, cache=True, error_model="numpy")
def _project(residual: Array, direction: Array) -> tuple[float, float]:
    """Remove a direction from the residual; return its height and what is left."""
    height = 0.0
    for f in range(len(residual)):
        height += direction[f] * residual[f]
    for f in range(len(residual)):
        residual[f] -= height * direction[f]
    return height, np.sqrt(_squared_norm(residual))


@njit(nogil=True, cache=True, error_model="numpy")
def _squared_norm(row: Array) -> float:
    total = 0.0
    for f in range(len(row)):
        total += row[f] * row[f]
    return total


@njit(nogil=True, cache=True, error_model="numpy")
def _finish(
    triangle: Array, heights: Array, support: NDArray[np.int32], codes: Array
) -> None:
    """Turn the heights along the orthonormal directions into coefficients of atoms."""
    coefficients = np.empty(support.shape[1])
    for i in range(len(codes)):
        count = 0
        while count < support.shape[1] and support[i, count] >= 0:
            count += 1
        for k in range(count - 1, -1, -1):
            value = float(heights[i, k])
            for m in range(k + 1, count):
                value -= triangle[i, k, m] * coefficients[m]
            coefficients[k] = value / triangle[i, k, k]
        store_sorted(coefficients, count, support[i], codes[i])
