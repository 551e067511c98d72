"""Compiled loop of matching pursuit with coefficients that are not negative."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sklearn_whitebox.solvers._omp_kernels import (
    NOISE,
    back_substitute,
    best_atom,
    new_direction,
    refine,
    remove_direction,
    residual_energy,
    store_sorted,
)

Array = NDArray[np.floating]
Indices = NDArray[np.int64]

# Atoms may leave the support and others come, but not for ever.
_STEPS_PER_ATOM = 10


@njit(nogil=True, cache=True, error_model="numpy")
def pursue_nonnegative(
    block: Array,
    energies: Array,
    limits: Array,
    dictionary: Array,
    gram: Array,
    squares: Array,
    floors: Array,
    correlations: Array,
    banned: Indices,
    by_reduction: bool,
    score: Array,
    bits: Array,
    support: NDArray[np.int32],
    codes: Array,
) -> None:
    """Run each row's pursuit; after each step the support's non-negative least squares.

    Atoms join while their correlation with the residual is positive and leave when
    their coefficient would be negative. `gram` may be empty: then the products of the
    atoms that join are computed one by one.
    """
    depth = support.shape[1]
    products = np.zeros((depth, squares.shape[0]), block.dtype)
    c = np.empty_like(squares)
    upper = np.empty_like(squares)
    e = np.empty_like(squares)
    open_atoms = np.empty_like(squares)
    heights, roots = np.empty(depth), np.empty(depth)
    before, after = np.empty(depth), np.empty(depth)
    eps = float(np.finfo(block.dtype).eps)
    for i in range(block.shape[0]):
        energy = float(energies[i])
        noise = (NOISE * eps) ** 2 * energy
        left = energy
        c[:] = correlations[i]
        open_atoms[:] = squares
        for j in banned[i]:
            if j >= 0:
                open_atoms[j] = -1
        e[:] = open_atoms
        count = 0
        for _ in range(_STEPS_PER_ATOM * depth):
            if count == depth or left <= limits[i]:
                break
            for m in range(c.shape[0]):
                upper[m] = max(c[m], c[m] * 0)
            j = best_atom(upper, e, by_reduction, score, bits)
            if j < 0:
                break
            if float(c[j]) ** 2 <= noise * squares[j]:
                e[j] = -1
                continue
            support[i, count] = j
            before[count] = 0
            _join(dictionary, gram, products, c, e, floors, heights, roots, j, count)
            count += 1
            back_substitute(products, heights, roots, support[i], count, after)
            while _least(after, count) <= 0:
                count = _leave(support[i], before, after, count)
                if count == 0 or support[i, count - 1] != j:
                    # Only rounding can drop the atom that came last.
                    open_atoms[j] = -1
                c[:] = correlations[i]
                e[:] = open_atoms
                for k in range(count):
                    _join(
                        dictionary, gram, products, c, e, floors, heights, roots,
                        support[i, k], k,
                    )  # fmt: skip
                back_substitute(products, heights, roots, support[i], count, after)
            left = energy
            for k in range(count):
                before[k] = after[k]
                left -= heights[k] * heights[k]
            if left <= 1e3 * eps * energy:
                left = residual_energy(block[i], dictionary, support[i], before, count)
        refine(block[i], dictionary, products, roots, support[i], count, before)
        for k in range(count):
            before[k] = max(before[k], 0.0)
        for k in range(count, depth):
            support[i, k] = -1
        store_sorted(before, count, support[i], codes[i])


@njit(nogil=True, cache=True, error_model="numpy")
def _join(
    dictionary: Array,
    gram: Array,
    products: Array,
    c: Array,
    e: Array,
    floors: Array,
    heights: Array,
    roots: Array,
    j: int,
    count: int,
) -> None:
    """Add an atom to the support."""
    root = np.sqrt(max(float(e[j]), float(floors[j])))
    roots[count] = root
    heights[count] = c[j] / root
    if gram.shape[0] > 0:
        row = gram[j]
    else:
        row = np.zeros_like(c)
        row[: dictionary.shape[0]] = np.dot(dictionary, dictionary[j])
    new_direction(row, products, j, count, root)
    remove_direction(c, e, floors, products[count], c.dtype.type(heights[count]))
    e[j] = -1


@njit(nogil=True, cache=True)
def _least(coefficients: Array, count: int) -> float:
    least = np.inf
    for k in range(count):
        least = min(least, coefficients[k])
    return least


@njit(nogil=True, cache=True)
def _leave(support: NDArray[np.int32], before: Array, after: Array, count: int) -> int:
    """Go towards the new coefficients until some are zero, and drop their atoms."""
    share = 1.0
    for k in range(count):
        if after[k] <= 0:
            share = min(share, before[k] / (before[k] - after[k]))
    kept = 0
    for k in range(count):
        value = before[k] + share * (after[k] - before[k])
        reached = after[k] <= 0 and value <= 1e-12 * before[k]
        if not reached:
            support[kept] = support[k]
            before[kept] = value
            kept += 1
    return kept
