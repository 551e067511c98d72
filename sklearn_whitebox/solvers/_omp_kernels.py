"""Compiled loops of orthogonal matching pursuit, one row at a time."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.floating]
Indices = NDArray[np.int64]


@njit(nogil=True, cache=True)
def _best_atom(correlations: Array) -> tuple[int, float]:
    best, value = -1, 0.0
    for j in range(len(correlations)):
        size = abs(correlations[j])
        if size > value:
            best, value = j, size
    return best, value


@njit(nogil=True, cache=True)
def extend(
    correlations: Array,
    rows: Indices,
    banned: Indices,
    dictionary: Array,
    residual: Array,
    basis: Array,
    triangle: Array,
    heights: Array,
    support: Indices,
    norms: Array,
    alive: NDArray[np.bool_],
    step: int,
    tol: float,
    eps: float,
    largest: float,
) -> None:
    """Give each row one more atom and the QR factorisation that goes with it."""
    for a in range(len(rows)):
        i = rows[a]
        h = correlations[a]
        for j in banned[i]:
            if j >= 0:
                h[j] = 0
        for k in range(step):
            h[support[i, k]] = 0
        floor = 10 * eps * norms[i] * largest
        alive[i] = False
        j, value = _best_atom(h)
        while j >= 0 and value > floor:
            if _orthogonalise(dictionary[j], basis[i], triangle[i], step, eps):
                support[i, step] = j
                heights[i, step], left = _project(residual[i], basis[i, step])
                alive[i] = left > tol * norms[i]
                break
            h[j] = 0
            j, value = _best_atom(h)


@njit(nogil=True, cache=True)
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
    if rest <= 100 * eps * length:
        return False
    triangle[step, step] = np.sqrt(rest)
    for f in range(len(atom)):
        direction[f] /= triangle[step, step]
    return True


@njit(nogil=True, cache=True)
def _project(residual: Array, direction: Array) -> tuple[float, float]:
    """Remove a direction from the residual; return its height and what is left."""
    height = 0.0
    for f in range(len(residual)):
        height += direction[f] * residual[f]
    for f in range(len(residual)):
        residual[f] -= height * direction[f]
    return height, np.sqrt(_squared_norm(residual))


@njit(nogil=True, cache=True)
def _squared_norm(row: Array) -> float:
    total = 0.0
    for f in range(len(row)):
        total += row[f] * row[f]
    return total


@njit(nogil=True, cache=True)
def back_substitute(
    triangle: Array, heights: Array, support: Indices, codes: Array
) -> None:
    """Turn the heights along the orthonormal directions into coefficients of atoms."""
    for i in range(len(codes)):
        count = 0
        while count < support.shape[1] and support[i, count] >= 0:
            count += 1
        for k in range(count - 1, -1, -1):
            value = heights[i, k]
            for m in range(k + 1, count):
                value -= triangle[i, k, m] * codes[i, m]
            codes[i, k] = value / triangle[i, k, k]


@njit(nogil=True, cache=True)
def pursue_with_gram(
    block: Array,
    dictionary: Array,
    gram: Array,
    correlations: Array,
    banned: Indices,
    tol: float,
    eps: float,
    largest: float,
    support: Indices,
    codes: Array,
) -> None:
    """Batch OMP: correlations follow from the Gram matrix and a Cholesky factor."""
    n_atoms = len(dictionary)
    depth = support.shape[1]
    h = np.empty(n_atoms, block.dtype)
    dead = np.zeros(n_atoms, np.bool_)
    factor = np.zeros((depth, depth), block.dtype)
    heights = np.zeros(depth, block.dtype)
    for i in range(len(block)):
        energy = _squared_norm(block[i])
        floor = 10 * eps * np.sqrt(energy) * largest
        left = energy
        dead[:] = False
        for j in banned[i]:
            if j >= 0:
                dead[j] = True
        h[:] = correlations[i]
        count = 0
        while count < depth and left > tol * tol * energy:
            j = _append(h, dead, gram, factor, support[i], count, eps, floor)
            if j < 0:
                break
            height = correlations[i, j]
            for k in range(count):
                height -= factor[count, k] * heights[k]
            heights[count] = height / factor[count, count]
            left -= heights[count] * heights[count]
            count += 1
            _solve_transposed(factor, heights, codes[i], count)
            if left <= 1e3 * eps * energy:
                # Too much has cancelled in the running energy to be trusted.
                left = _residual_energy(block[i], dictionary, support[i], codes[i])
            if count < depth:
                h[:] = correlations[i]
                for k in range(count):
                    coefficient = codes[i, k]
                    atom = gram[support[i, k]]
                    for m in range(n_atoms):
                        h[m] -= coefficient * atom[m]


@njit(nogil=True, cache=True)
def _append(
    h: Array,
    dead: NDArray[np.bool_],
    gram: Array,
    factor: Array,
    support: Indices,
    count: int,
    eps: float,
    floor: float,
) -> int:
    """Choose the next atom, add its row to the Cholesky factor; -1 if none is left."""
    for m in range(len(h)):
        if dead[m]:
            h[m] = 0
    while True:
        j, value = _best_atom(h)
        if j < 0 or value <= floor:
            return -1
        pivot = gram[j, j]
        for k in range(count):
            entry = gram[support[k], j]
            for m in range(k):
                entry -= factor[k, m] * factor[count, m]
            factor[count, k] = entry / factor[k, k]
            pivot -= factor[count, k] * factor[count, k]
        dead[j] = True
        if pivot > 100 * eps * gram[j, j]:
            factor[count, count] = np.sqrt(pivot)
            support[count] = j
            return j
        h[j] = 0


@njit(nogil=True, cache=True)
def _solve_transposed(factor: Array, heights: Array, codes: Array, count: int) -> None:
    for k in range(count - 1, -1, -1):
        value = heights[k]
        for m in range(k + 1, count):
            value -= factor[m, k] * codes[m]
        codes[k] = value / factor[k, k]


@njit(nogil=True, cache=True)
def _residual_energy(
    row: Array, dictionary: Array, support: Indices, codes: Array
) -> float:
    energy = 0.0
    for f in range(len(row)):
        value = row[f]
        for k in range(len(support)):
            if support[k] < 0:
                break
            value -= codes[k] * dictionary[support[k], f]
        energy += value * value
    return energy
