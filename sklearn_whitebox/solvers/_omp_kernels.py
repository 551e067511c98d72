"""Compiled loops of orthogonal matching pursuit on the Gram matrix of the atoms."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.floating]
Indices = NDArray[np.int64]

# Rows of atoms are padded to a multiple of this, so that loops over atoms have no
# remainder.
LANES = 16

# Share of an atom's squared norm, in units of the machine precision, that must lie
# outside the span of the support; with less it counts as dependent on it.
DEPENDENT = 100.0

# Correlations up to this multiple of their rounding error are taken for zero.
NOISE = 10.0

# Supports with a pivot below this share of the squared norm of the atom have their
# coefficients corrected by the residual in double precision.
SKEWED = 0.3


@njit(nogil=True, cache=True, error_model="numpy")
def best_atom(c: Array, e: Array, by_reduction: bool, score: Array, bits: Array) -> int:
    """Find the first atom of the largest c²/e, or c², where e is positive; or -1.

    `bits` are the scores read as integers: their order is the same, and of integers
    compilers know that a maximum may be taken in any order, many at a time.
    """
    n = c.shape[0]
    if by_reduction:
        for j in range(n):
            score[j] = c[j] * c[j] / e[j]
    else:
        for j in range(n):
            square = c[j] * c[j]
            score[j] = square if e[j] > 0 else -square
    top = bits[0]
    for j in range(n):
        top = max(top, bits[j])
    if top <= 0:
        return -1
    best = np.int32(n)
    for j in range(n):
        best = min(best, np.int32(j) if bits[j] == top else np.int32(n))
    return int(best)


@njit(nogil=True, cache=True, error_model="numpy")
def new_direction(row: Array, products: Array, j: int, count: int, root: float) -> None:
    """Set products[count] to those of all atoms with the new orthonormal direction."""
    fresh = products[count]
    n = fresh.shape[0]
    k = 0
    inverse = row.dtype.type(1.0 / root)
    w0 = products[0, j]
    for m in range(n):
        fresh[m] = row[m]
    while k + 4 <= count:
        p0, p1, p2, p3 = products[k], products[k + 1], products[k + 2], products[k + 3]
        w0, w1, w2, w3 = p0[j], p1[j], p2[j], p3[j]
        for m in range(n):
            fresh[m] -= w0 * p0[m] + w1 * p1[m] + w2 * p2[m] + w3 * p3[m]
        k += 4
    while k < count:
        p0 = products[k]
        w0 = p0[j]
        for m in range(n):
            fresh[m] -= w0 * p0[m]
        k += 1
    for m in range(n):
        fresh[m] *= inverse


@njit(nogil=True, cache=True, error_model="numpy")
def remove_direction(
    c: Array, e: Array, floors: Array, product: Array, height: Any
) -> None:
    """Make correlations and free energies those of what is left of row and atoms."""
    gone = product.dtype.type(-1)
    for m in range(c.shape[0]):
        c[m] -= height * product[m]
        free = e[m] - product[m] * product[m]
        e[m] = free if free > floors[m] else gone


@njit(nogil=True, cache=True, error_model="numpy")
def pursue(
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
    """Run each row's pursuit on the Gram matrix of the atoms.

    Only products of atoms with orthonormal directions are kept: they lower the
    correlations and free energies of all atoms, and are the triangle that turns heights
    into coefficients. `correlations` are overwritten.
    """
    depth = support.shape[1]
    n_padded = gram.shape[1]
    kind = block.dtype.type
    products = np.zeros((depth, n_padded), block.dtype)
    e = np.empty(n_padded, block.dtype)
    heights = np.empty(depth)
    roots = np.empty(depth)
    coefficients = np.empty(depth)
    eps = float(np.finfo(block.dtype).eps)
    for i in range(block.shape[0]):
        left = float(energies[i])
        noise = (NOISE * eps) ** 2 * left
        c = correlations[i]
        for m in range(n_padded):
            e[m] = squares[m]
        for j in banned[i]:
            if j >= 0:
                e[j] = -1
        count = 0
        least = 1.0
        while count < depth and left > limits[i]:
            j = best_atom(c, e, by_reduction, score, bits)
            if j < 0:
                break
            free, square = float(e[j]), float(squares[j])
            height = float(c[j])
            e[j] = -1
            if height * height <= noise * square:
                continue
            least = min(least, free / square)
            root = np.sqrt(free)
            height /= root
            support[i, count] = j
            heights[count] = height
            roots[count] = root
            left -= height * height
            if left <= 1e3 * eps * energies[i]:
                # Too much has cancelled in the running energy to be trusted.
                back_substitute(
                    products, heights, roots, support[i], count + 1, coefficients
                )
                left = residual_energy(
                    block[i], dictionary, support[i], coefficients, count + 1
                )
            if count + 1 < depth and left > limits[i]:
                new_direction(gram[j], products, j, count, root)
                remove_direction(c, e, floors, products[count], kind(height))
                e[j] = -1
            count += 1
        back_substitute(products, heights, roots, support[i], count, coefficients)
        if least < SKEWED:
            refine(
                block[i], dictionary, products, roots, support[i], count, coefficients
            )
        store_sorted(coefficients, count, support[i], codes[i])


@njit(nogil=True, cache=True, error_model="numpy")
def back_substitute(
    products: Array,
    heights: Array,
    roots: Array,
    support: NDArray[np.int32],
    count: int,
    coefficients: Array,
) -> None:
    for k in range(count - 1, -1, -1):
        value = heights[k]
        for m in range(k + 1, count):
            value -= products[k, support[m]] * coefficients[m]
        coefficients[k] = value / roots[k]


@njit(nogil=True, cache=True, error_model="numpy")
def residual_energy(
    row: Array,
    dictionary: Array,
    support: NDArray[np.int32],
    coefficients: Array,
    count: int,
) -> float:
    energy = 0.0
    for f in range(row.shape[0]):
        value = float(row[f])
        for k in range(count):
            value -= coefficients[k] * dictionary[support[k], f]
        energy += value * value
    return energy


@njit(nogil=True, cache=True, error_model="numpy")
def refine(
    row: Array,
    dictionary: Array,
    products: Array,
    roots: Array,
    support: NDArray[np.int32],
    count: int,
    coefficients: Array,
) -> None:
    """Correct coefficients by what the support still explains of their residual."""
    residual = np.empty(row.shape[0])
    heights = np.empty(count)
    step = np.empty(count)
    for _ in range(2):
        for f in range(row.shape[0]):
            residual[f] = row[f]
        for k in range(count):
            weight = coefficients[k]
            atom = dictionary[support[k]]
            for f in range(row.shape[0]):
                residual[f] -= weight * atom[f]
        for k in range(count):
            atom = dictionary[support[k]]
            value = 0.0
            for f in range(row.shape[0]):
                value += residual[f] * atom[f]
            for m in range(k):
                value -= products[m, support[k]] * heights[m]
            heights[k] = value / roots[k]
        back_substitute(products, heights, roots, support, count, step)
        for k in range(count):
            coefficients[k] += step[k]


@njit(nogil=True, cache=True, error_model="numpy")
def store_sorted(
    coefficients: Array, count: int, support: NDArray[np.int32], codes: Array
) -> None:
    for k in range(count):
        j, value = support[k], coefficients[k]
        m = k
        while m > 0 and support[m - 1] > j:
            support[m] = support[m - 1]
            codes[m] = codes[m - 1]
            m -= 1
        support[m] = j
        codes[m] = value
