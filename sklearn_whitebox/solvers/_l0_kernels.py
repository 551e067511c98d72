"""Compiled loops of dictionary learning with few coefficients a row."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.floating]
Indices = NDArray[np.int64]
Places = NDArray[np.int32]


@njit(nogil=True, cache=True)
def residuals(
    X: Array, support: Places, codes: Array, D: Array, R: Array, errors: Array
) -> None:
    """Set R to what the codes leave of X, and errors to its squared norms."""
    for i in range(X.shape[0]):
        R[i] = X[i]
        for p in range(support.shape[1]):
            j = support[i, p]
            if j < 0:
                continue
            z = codes[i, p]
            for f in range(X.shape[1]):
                R[i, f] -= z * D[j, f]
        total = 0.0
        for f in range(X.shape[1]):
            total += R[i, f] * R[i, f]
        errors[i] = total


@njit(nogil=True, cache=True)
def rows_of_atoms(support: Places, n_atoms: int) -> tuple[Indices, Indices, Indices]:
    """List for each atom, from offset to offset, the rows and slots that hold it."""
    offsets = np.zeros(n_atoms + 1, np.int64)
    for i in range(support.shape[0]):
        for p in range(support.shape[1]):
            if support[i, p] >= 0:
                offsets[support[i, p] + 1] += 1
    for j in range(n_atoms):
        offsets[j + 1] += offsets[j]
    filled = offsets[:-1].copy()
    rows = np.empty(offsets[-1], np.int64)
    slots = np.empty(offsets[-1], np.int64)
    for i in range(support.shape[0]):
        for p in range(support.shape[1]):
            j = support[i, p]
            if j >= 0:
                rows[filled[j]] = i
                slots[filled[j]] = p
                filled[j] += 1
    return offsets, rows, slots


@njit(nogil=True, cache=True, error_model="numpy")
def sweep_atoms(
    R: Array,
    D: Array,
    codes: Array,
    offsets: Indices,
    rows: Indices,
    slots: Indices,
    order: Indices,
    positive_code: bool,
    positive_dict: bool,
    n_steps: int,
) -> None:
    """Fit each atom and its coefficients to what all others leave of its rows.

    Without the atom these rows would leave E; atom and coefficients become a pair of
    unit d and z of lower error in E ≈ z dᵀ, by alternating between the two. The
    residual R = E - z dᵀ stays valid.
    """
    fresh = np.empty(D.shape[1])
    for j in order:
        first, last = offsets[j], offsets[j + 1]
        for _ in range(n_steps):
            if not _weighted_direction(
                R, D, codes, rows, slots, first, last, j, positive_dict, fresh
            ):
                break
            cosine = 0.0
            for f in range(fresh.shape[0]):
                cosine += fresh[f] * D[j, f]
            _move_atom(R, D, codes, rows, slots, first, last, j, fresh, positive_code)
            if cosine > 1 - 1e-12:
                break


@njit(nogil=True, cache=True, error_model="numpy")
def sweep_atoms_exactly(
    R: Array,
    D: Array,
    codes: Array,
    offsets: Indices,
    rows: Indices,
    slots: Indices,
    order: Indices,
) -> None:
    """Make each atom and its coefficients the best pair, whatever their signs."""
    fresh = np.empty(D.shape[1])
    for j in order:
        first, last = offsets[j], offsets[j + 1]
        if first < last:
            _leading_direction(R, D, codes, rows, slots, first, last, j, fresh)
            _move_atom(R, D, codes, rows, slots, first, last, j, fresh, False)


@njit(nogil=True, cache=True, error_model="numpy")
def _weighted_direction(
    R: Array,
    D: Array,
    codes: Array,
    rows: Indices,
    slots: Indices,
    first: int,
    last: int,
    j: int,
    positive_dict: bool,
    fresh: Array,
) -> bool:
    """Best atom for the coefficients as they are: the direction of Eᵀz."""
    energy = 0.0
    fresh[:] = 0
    for t in range(first, last):
        i = rows[t]
        z = float(codes[i, slots[t]])
        energy += z * z
        for f in range(fresh.shape[0]):
            fresh[f] += z * R[i, f]
    norm = 0.0
    for f in range(fresh.shape[0]):
        fresh[f] += energy * D[j, f]
        if positive_dict:
            fresh[f] = max(fresh[f], 0.0)
        norm += fresh[f] * fresh[f]
    if energy <= 0 or norm <= 0:
        return False
    norm = np.sqrt(norm)
    for f in range(fresh.shape[0]):
        fresh[f] /= norm
    return True


@njit(nogil=True, cache=True, error_model="numpy")
def _leading_direction(
    R: Array,
    D: Array,
    codes: Array,
    rows: Indices,
    slots: Indices,
    first: int,
    last: int,
    j: int,
    fresh: Array,
) -> None:
    """Leading right singular vector of E, by the smaller of its Gram matrices."""
    n, d = last - first, D.shape[1]
    E = np.empty((n, d))
    for t in range(n):
        i = rows[first + t]
        z = codes[i, slots[first + t]]
        for f in range(d):
            E[t, f] = R[i, f] + z * D[j, f]
    if n >= d:
        _, vectors = np.linalg.eigh(np.dot(E.T, E))
        fresh[:] = vectors[:, -1]
    else:
        _, vectors = np.linalg.eigh(np.dot(E, E.T))
        fresh[:] = np.dot(np.ascontiguousarray(vectors[:, -1]), E)
        norm = np.sqrt((fresh * fresh).sum())
        if norm > 0:
            fresh /= norm
        else:
            fresh[:] = D[j]
    # The sign of a singular vector is arbitrary; that of the atom is to stay.
    if (fresh * D[j]).sum() < 0:
        fresh *= -1


@njit(nogil=True, cache=True, error_model="numpy")
def _move_atom(
    R: Array,
    D: Array,
    codes: Array,
    rows: Indices,
    slots: Indices,
    first: int,
    last: int,
    j: int,
    fresh: Array,
    positive_code: bool,
) -> None:
    """Put the new atom in place, with the best coefficients that go with it."""
    atom = D[j].copy()
    D[j] = fresh
    fitted = D[j]
    kind = D.dtype.type
    cosine = 0.0
    for f in range(fresh.shape[0]):
        cosine += atom[f] * fitted[f]
    for t in range(first, last):
        i = rows[t]
        before = codes[i, slots[t]]
        value = before * cosine
        for f in range(fresh.shape[0]):
            value += R[i, f] * fitted[f]
        if positive_code:
            value = max(value, 0.0)
        after = kind(value)
        for f in range(fresh.shape[0]):
            R[i, f] += before * atom[f] - after * fitted[f]
        codes[i, slots[t]] = after


@njit(nogil=True, cache=True)
def descend_nonnegative(D: Array, gram: Array, cross: Array, n_passes: int) -> None:
    """Fit non-negative atoms of any length to given codes, one atom at a time."""
    target = np.empty(D.shape[1])
    for _ in range(n_passes):
        for j in range(D.shape[0]):
            if gram[j, j] <= 0:
                continue
            target[:] = cross[j]
            for i in range(D.shape[0]):
                weight: Any = gram[j, i]
                if weight != 0:
                    for f in range(D.shape[1]):
                        target[f] -= weight * D[i, f]
            for f in range(D.shape[1]):
                D[j, f] = max(D[j, f] + target[f] / gram[j, j], 0.0)
