"""Homotopy: the exact path of an elastic net from the zero code downwards."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]


@njit(nogil=True, cache=True)
def singular_share(gram: Array) -> float:
    """Share of an atom's squared norm that must lie outside the span of the support."""
    return max(1e-12, 10.0 * float(np.finfo(gram.dtype).eps))


@njit(nogil=True, cache=True)
def _grow_inverse(
    gram: Array, support: Array, m: int, j: int, l2: float, inverse: Array
) -> bool:
    """Border the inverse of the support's Gram by atom `j`; False if singular."""
    column = np.zeros(m)
    for i in range(m):
        weight = gram[j, support[i]]
        for r in range(m):
            column[r] += weight * inverse[i, r]
    schur = gram[j, j] + l2
    for i in range(m):
        schur -= gram[j, support[i]] * column[i]
    if schur <= singular_share(gram) * (gram[j, j] + l2):
        return False
    for i in range(m):
        weight = column[i] / schur
        for r in range(m):
            inverse[i, r] += weight * column[r]
        inverse[i, m] = -weight
        inverse[m, i] = -weight
    inverse[m, m] = 1.0 / schur
    return True


@njit(nogil=True, cache=True)
def _shrink_inverse(m: int, position: int, inverse: Array) -> None:
    """Take one atom out of the inverse, by moving the last one into its place."""
    last = m - 1
    for i in range(m):
        inverse[i, position], inverse[i, last] = (
            inverse[i, last],
            inverse[i, position],
        )
    for i in range(m):
        inverse[position, i], inverse[last, i] = (
            inverse[last, i],
            inverse[position, i],
        )
    for i in range(last):
        weight = inverse[i, last] / inverse[last, last]
        for r in range(last):
            inverse[i, r] -= weight * inverse[last, r]


@njit(nogil=True, cache=True)
def _velocity(
    gram: Array,
    support: Array,
    signs: Array,
    m: int,
    inverse: Array,
    direction: Array,
    drift: Array,
) -> None:
    """Find how codes and correlations move per unit that the level falls."""
    for j in range(drift.shape[0]):
        drift[j] = 0.0
    for i in range(m):
        direction[i] = 0.0
    for i in range(m):
        for r in range(m):
            direction[r] += signs[i] * inverse[i, r]
    for i in range(m):
        row = gram[support[i]]
        for j in range(drift.shape[0]):
            drift[j] += direction[i] * row[j]


@njit(nogil=True, cache=True)
def _next_event(
    residual: Array,
    drift: Array,
    inside: Array,
    level: float,
    l1: float,
    positive: bool,
    dropped: int,
) -> tuple[float, int]:
    """Find how far the level can fall until an atom joins, and which one."""
    step = level - l1
    joining = -1
    for j in range(residual.shape[0]):
        if inside[j] or j == dropped:
            continue
        # c - s a meets the level - s from below, or its negative from above. The test
        # multiplies, since most atoms join nowhere near and a division is slow.
        below, above = 1.0 - drift[j], 1.0 + drift[j]
        if below > 0.0 and level - residual[j] < step * below:
            step = max((level - residual[j]) / below, 0.0)
            joining = j
        if above > 0.0 and not positive and level + residual[j] < step * above:
            step = max((level + residual[j]) / above, 0.0)
            joining = j
    return step, joining


@njit(nogil=True, cache=True)
def _first_to_join(residual: Array, positive: bool) -> tuple[float, int]:
    """Find the weight from which on the code is zero, and the atom that sets it."""
    level = 0.0
    joining = -1
    for j in range(residual.shape[0]):
        height = residual[j] if positive else abs(residual[j])
        if height > level:
            level = height
            joining = j
    return level, joining


@njit(nogil=True, cache=True)
def _first_to_leave(
    code: Array, direction: Array, support: Array, signs: Array, m: int, step: float
) -> tuple[float, int]:
    """Find how far the level can fall until a coefficient is zero, and its place."""
    leaving = -1
    for i in range(m):
        if direction[i] * signs[i] < 0.0:
            reach = -code[support[i]] / direction[i]
            if reach < step:
                step = max(reach, 0.0)
                leaving = i
    return step, leaving


@njit(nogil=True, cache=True)
def _enlarged(inverse: Array, m: int) -> Array:
    """Copy the inverse into a matrix of twice the size."""
    larger = np.empty((2 * inverse.shape[0], 2 * inverse.shape[0]))
    larger[:m, :m] = inverse[:m, :m]
    return larger


@njit(nogil=True, cache=True)
def follow_path(
    gram: Array,
    b: Array,
    l1: float,
    l2: float,
    positive: bool,
    code: Array,
    residual: Array,
    max_steps: int,
) -> int:
    """Lower the l1 weight from where the code is zero, along the piecewise linear path.

    Stops early, with a code that is optimal for a larger weight, where the support's
    Gram is singular or the steps run out.
    """
    k = b.shape[0]
    inverse = np.empty((16, 16))
    support = np.empty(k, dtype=np.int64)
    inside = np.zeros(k, dtype=np.bool_)
    signs = np.empty(k)
    direction = np.empty(k)
    drift = np.empty(k)
    level, joining = _first_to_join(residual, positive)
    m = 0
    dropped = -1
    for n_steps in range(max_steps):
        if joining >= 0:
            if m == inverse.shape[0]:
                inverse = _enlarged(inverse, m)
            if not _grow_inverse(gram, support, m, joining, l2, inverse):
                return n_steps
            support[m] = joining
            signs[m] = 1.0 if residual[joining] > 0.0 else -1.0
            inside[joining] = True
            m += 1
        _velocity(gram, support, signs, m, inverse, direction, drift)
        step, joining = _next_event(
            residual, drift, inside, level, l1, positive, dropped
        )
        step, leaving = _first_to_leave(code, direction, support, signs, m, step)
        dropped = -1
        for i in range(m):
            code[support[i]] += step * direction[i]
        for j in range(k):
            residual[j] -= step * drift[j]
        level -= step
        if leaving >= 0:
            joining = -1
            dropped = support[leaving]
            code[dropped] = 0.0
            inside[dropped] = False
            _shrink_inverse(m, leaving, inverse)
            m -= 1
            support[leaving] = support[m]
            signs[leaving] = signs[m]
        elif joining < 0:
            return n_steps + 1
    return max_steps
