"""Compiled steps of the oracle active-set elastic net."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sklearn_whitebox.solvers._active_set import Workspace, active_set, adopt
from sklearn_whitebox.solvers._elastic_net import _elastic_net_single
from sklearn_whitebox.solvers._top_products import insert

Array = NDArray[Any]
Indices = NDArray[np.int64]

_MAX_SWEEPS = 10_000

# Most rounds of the active set, and least share of a row outside the span of others.
_MAX_STEPS = 1000
_DEPENDENT = 1e-9


@njit(nogil=True, cache=True)
def solve_on_supports(
    X: Array,
    block: Array,
    rows: Indices,
    support: Indices,
    codes: Array,
    residual: Array,
    l1: Array,
    l2: Array,
    tol: float,
    violation: Array,
) -> None:
    """Solve the listed rows on their supports, from their codes, in place."""
    side = support.shape[1]
    heights = np.empty(side + 1)
    work = Workspace(
        np.empty(side), heights, heights.view(np.int64), np.empty(side),
        np.empty(side, np.int64), np.empty((6, side)),
    )  # fmt: skip
    inverse = np.empty((min(side, 96), min(side, 96)))
    for i in rows:
        size = 0
        while size < support.shape[1] and support[i, size] >= 0:
            size += 1
        atoms = np.empty((size, X.shape[1]), X.dtype)
        for k in range(size):
            atoms[k] = X[support[i, k]]
        gram = np.dot(atoms, atoms.T)
        b = np.dot(atoms, block[i])
        z = codes[i, :size].copy()
        violation[i], inverse = _solve_small(
            gram, b, l1[i], l2[i], 0.1 * tol, z, work, inverse
        )
        if violation[i] > tol:
            z[:] = 0.0
            _, violation[i] = _elastic_net_single(
                gram, b, l1[i], l2[i], False, z, tol, _MAX_SWEEPS
            )
        codes[i, :size] = z
        residual[i] = block[i]
        for k in range(size):
            if z[k] != 0:
                for f in range(X.shape[1]):
                    residual[i, f] -= z[k] * atoms[k, f]


@njit(nogil=True, cache=True, error_model="numpy")
def _solve_small(
    gram: Array,
    b: Array,
    l1: float,
    l2: float,
    tol: float,
    z: Array,
    work: Workspace,
    inverse: Array,
) -> tuple[float, Array]:
    """Improve a code by the active-set method; return its relative violation."""
    k = b.shape[0]
    small, wide = np.empty((k, k)), np.empty(k)
    scale = 0.0
    for a in range(k):
        wide[a] = b[a]
        scale = max(scale, abs(wide[a]))
        for c in range(k):
            small[a, c] = gram[a, c]
        small[a, a] += l2
    if scale <= l1:
        z[:] = 0.0
        return 0.0, inverse
    part = Workspace(
        work.residual[:k], work.heights[: k + 1], work.bits[: k + 1], work.outside[:k],
        work.support, work.numbers,
    )  # fmt: skip
    m, inverse = adopt(small, z, False, _DEPENDENT, part, inverse)
    m, _, inverse = active_set(
        small, wide, l1, False, _DEPENDENT, tol * scale, _MAX_STEPS, m, part, inverse
    )
    z[:] = 0.0
    for p in range(m):
        z[work.support[p]] = work.numbers[1, p]
    worst = 0.0
    for a in range(k):
        slope = wide[a]
        for c in range(k):
            slope -= small[a, c] * z[c]
        if z[a] > 0.0:
            worst = max(worst, abs(slope - l1))
        elif z[a] < 0.0:
            worst = max(worst, abs(slope + l1))
        else:
            worst = max(worst, abs(slope) - l1)
    return worst / scale, inverse


@njit(nogil=True, cache=True)
def next_supports(
    correlations: Array,
    rows: Indices,
    own: Indices,
    support: Indices,
    codes: Array,
    l1: Array,
    coherence: Array,
    tol: float,
    violation: Array,
) -> tuple[Indices, Array, NDArray[np.bool_]]:
    """Let the rows inside the oracle region enter; say which rows are not finished."""
    width = support.shape[1]
    used = 0
    for i in rows:
        used = max(used, int(np.count_nonzero(codes[i])))
    wider = width
    if used > 0.8 * width:
        wider = min(correlations.shape[1] - 1, max(width + 16, int(1.5 * width)))
    new_support = np.full((support.shape[0], wider), -1, support.dtype)
    new_codes = np.zeros((support.shape[0], wider), codes.dtype)
    new_support[:, :width] = support
    new_codes[:, :width] = codes
    grown = np.zeros(len(rows), np.bool_)
    for a in range(len(rows)):
        i = rows[a]
        h = np.abs(correlations[a])
        h[own[i]] = 0
        for k in range(width):
            if support[i, k] >= 0:
                h[support[i, k]] = 0
        violation[i] = max(0.0, h.max() - l1[i]) / coherence[i]
        if violation[i] <= tol:
            continue
        grown[a] = True
        new_support[i] = -1
        new_codes[i] = 0
        kept = 0
        for k in range(width):
            if codes[i, k] != 0:
                new_support[i, kept] = support[i, k]
                new_codes[i, kept] = codes[i, k]
                kept += 1
        entering = np.full(wider - kept, -1, np.int32)
        pulls = np.zeros(wider - kept, h.dtype)
        least = l1[i] + tol * coherence[i]
        for j in range(h.shape[0]):
            if h[j] > least:
                insert(entering, pulls, h[j], j)
                least = max(least, pulls[-1])
        for k in range(wider - kept):
            if entering[k] >= 0:
                new_support[i, kept + k] = entering[k]
    return new_support, new_codes, grown
