"""Compiled steps of the oracle active-set elastic net."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sklearn_whitebox.solvers._elastic_net import _elastic_net_single

Array = NDArray[np.floating]
Indices = NDArray[np.int64]

_MAX_SWEEPS = 10_000


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
        _, violation[i] = _elastic_net_single(
            gram, b, l1[i], l2[i], False, z, tol, _MAX_SWEEPS
        )
        codes[i, :size] = z
        residual[i] = block[i]
        for k in range(size):
            if z[k] != 0:
                for f in range(X.shape[1]):
                    residual[i, f] -= z[k] * atoms[k, f]


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
        entering = np.flatnonzero(h > l1[i] + tol * coherence[i])
        violation[i] = max(0.0, h.max() - l1[i]) / coherence[i]
        if len(entering) == 0:
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
        order = np.argsort(-h[entering])
        for k in range(min(wider - kept, len(order))):
            new_support[i, kept + k] = entering[order[k]]
    return new_support, new_codes, grown
