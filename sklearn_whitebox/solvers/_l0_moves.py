"""Ways out of poor local minima of dictionary learning."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox.solvers._atoms import unit_rows
from sklearn_whitebox.solvers._l0_coding import Coding, Encoder

Array = NDArray[np.floating]
Places = NDArray[np.int32]

# Two atoms closer than this are one.
_DUPLICATE = 0.99


def propose_swap(
    coding: Coding, encoder: Encoder, at: tuple[int, int], positive_dict: bool
) -> Coding | None:
    """Free an atom that others can stand in for, and give it to one that is two.

    In a poor local minimum two atoms stand for one true atom, and one for two. The
    former have little energy that their nearest atom could not take over; the rows of
    the latter have the largest residuals, along the line between the two.

    Parameters
    ----------
    coding : Coding
        Settled codes; left as they are.
    encoder : Encoder
        That made them.
    at : tuple of int
        Which atom to free and which to split, as places in the two orders.
    positive_dict : bool
        Whether atoms must not be negative.

    Returns
    -------
    trial : Coding or None
        With two new atoms, whose old coefficients are dropped; None if there is no
        such pair.
    """
    D, held = coding.D, coding.support >= 0
    k = len(D)
    if k < 2 or max(at) >= k:
        return None
    energies = coding.energies()
    near = np.square(D @ D.T)
    np.fill_diagonal(near, 0)
    counts = np.maximum(np.bincount(coding.support[held], minlength=k), 1)
    shared = np.repeat(coding.errors, held.sum(axis=1))
    badness = np.bincount(coding.support[held], shared, minlength=k) / counts
    # Of few rows any direction is a good one.
    badness[counts < min(D.shape[1] / 4, len(coding.R) / k)] = 0
    double = int(np.argsort(-badness, kind="stable")[at[1]])
    spare = np.argsort(energies * (1 - near.max(axis=1)), kind="stable")
    spare = spare[spare != double]
    if at[0] >= len(spare) or badness[double] <= 0:
        return None
    freed = int(spare[at[0]])
    rows, slots = np.nonzero(coding.support == double)
    rest, own = coding.R[rows], coding.codes[rows, slots]
    values, vectors = np.linalg.eigh(rest.T @ rest)
    if not own.any() or values[-1] <= 0:
        return None
    lean = np.sqrt(values[-1] / (own @ own)) * vectors[:, -1]
    pair = np.stack([D[double] + lean, D[double] - lean])
    if positive_dict:
        pair = np.maximum(pair, 0)
    fresh = D.copy()
    fresh[[double, freed]] = unit_rows(pair)
    dropped = (coding.support == double) | (coding.support == freed)
    return encoder.with_residuals(
        fresh,
        np.where(dropped, -1, coding.support).astype(np.int32),
        np.where(dropped, 0, coding.codes).astype(coding.codes.dtype),
    )


def replace_atoms(
    coding: Coding, encoder: Encoder, positive_dict: bool
) -> tuple[Coding, int]:
    """Put badly represented samples in the place of atoms without a use.

    An atom goes if hardly a sample uses it or if another is its double, which takes
    over its coefficients, and if that costs less than the sample gains.

    Parameters
    ----------
    coding : Coding
        Codes; overwritten.
    encoder : Encoder
        That made them.
    positive_dict : bool
        Whether atoms must not be negative.

    Returns
    -------
    coding : Coding
        Of at most the same objective.
    n_replaced : int
        Atoms replaced.
    """
    X, D = encoder.X, coding.D
    k = len(D)
    usage = coding.used()
    idle = max(min(3.0, len(X) / (10 * k)), 0.001 * len(X) / k)
    cosines = D @ D.T
    likeness = cosines if encoder.positive else np.abs(cosines)
    # Of two doubles the one used less goes; ties go by position.
    weaker = (usage[:, None] < usage) | (
        (usage[:, None] == usage) & np.tri(k, k=-1, dtype=bool)
    )
    doubles = (likeness > _DUPLICATE) & weaker
    useless = np.flatnonzero((usage <= idle) | doubles.any(axis=1))
    n_replaced = 0
    for j in useless:
        row = int(np.argmax(coding.errors))
        atom = np.maximum(X[row], 0) if positive_dict else X[row]
        length = float(np.linalg.norm(atom))
        if length == 0:
            break
        heir = int(np.argmax(np.where(doubles[j], likeness[j], -1)))
        heir = heir if doubles[j, heir] else -1
        changed = _take_over(coding, encoder, int(j), heir, float(cosines[j, heir]))
        rows = np.setdiff1d(changed[0], [row])
        cost = (changed[1] - coding.errors[changed[0]])[changed[0] != row].sum()
        best = max(float(X[row] @ atom) / length, 0.0)
        gain = coding.errors[row] - (float(X[row] @ X[row]) - best**2)
        if gain <= max(cost, 1e-10 * coding.errors.sum()):
            continue
        D[j] = atom / length
        support, codes = changed[2], changed[3]
        coding.support[rows] = support[changed[0] != row]
        coding.codes[rows] = codes[changed[0] != row]
        coding.support[row], coding.codes[row] = -1, 0
        coding.support[row, 0], coding.codes[row, 0] = j, best
        touched = np.append(rows, row)
        part = replace(encoder, X=X[touched]).with_residuals(
            D, coding.support[touched], coding.codes[touched]
        )
        coding.R[touched], coding.errors[touched] = part.R, part.errors
        # The double that inherits, or the atom itself, must not be judged by old use.
        doubles[:, j] = False
        if heir >= 0:
            doubles[heir] = False
        n_replaced += 1
    return coding, n_replaced


def _take_over(
    coding: Coding, encoder: Encoder, j: int, heir: int, cosine: float
) -> tuple[Any, Array, Places, Array]:
    """Rows of atom j without it, and their errors, supports and codes."""
    rows, slots = np.nonzero(coding.support == j)
    support, codes = coding.support[rows], coding.codes[rows]
    at = np.arange(len(rows))
    values = codes[at, slots] * cosine
    support[at, slots], codes[at, slots] = -1, 0
    if heir >= 0:
        present = support == heir
        codes[present] += np.broadcast_to(values[:, None], codes.shape)[present]
        absent = ~present.any(axis=1)
        support[at[absent], slots[absent]] = heir
        codes[at[absent], slots[absent]] = values[absent]
    part = replace(encoder, X=encoder.X[rows]).with_residuals(coding.D, support, codes)
    return rows, part.errors, support, codes
