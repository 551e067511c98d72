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
# Rows that are considered as new atoms, and the cosine from which two are alike.
_CANDIDATES = 200
_ALIKE = 0.7


def propose_swap(
    coding: Coding,
    encoder: Encoder,
    at: tuple[int, int],
    *,
    splits: bool,
    positive_dict: bool,
) -> Coding | None:
    """Free an atom that others can stand in for, and use it where one is missed.

    In a poor local minimum two atoms stand for one true atom, or one for none. They
    have little energy that their nearest atom could not take over. Where one atom
    stands for two, its rows have the largest residuals, along the line between them;
    where a true atom is missed, some rows consist of little else.

    Parameters
    ----------
    coding : Coding
        Settled codes; left as they are.
    encoder : Encoder
        That made them.
    at : tuple of int
        Which atom to free and which to split, or which row to take, as places in the
        two orders.
    splits : bool
        Whether to split an atom; else a row becomes one.
    positive_dict : bool
        Whether atoms must not be negative.

    Returns
    -------
    trial : Coding or None
        With new atoms, whose old coefficients are dropped; None if there are none.
    """
    D = coding.D
    if len(D) < 2 or max(at) >= len(D):
        return None
    near = np.square(D @ D.T)
    np.fill_diagonal(near, 0)
    cost = coding.energies() * (1 - near.max(axis=1))
    spare = np.argsort(cost, kind="stable")
    if splits:
        double, pair = _two_of_one(coding, at[1])
        spare = spare[spare != double]
        changed, atoms = [double, int(spare[at[0] - (at[0] == len(spare))])], pair
    else:
        changed, atoms = [int(spare[at[0]])], _missed_row(coding, encoder.X, at[1])
    if atoms is None:
        return None
    if positive_dict:
        atoms = np.maximum(atoms, 0)
    if not atoms.any(axis=1).all():
        return None
    fresh = D.copy()
    fresh[changed] = unit_rows(atoms)
    dropped = np.isin(coding.support, changed)
    return encoder.with_residuals(
        fresh,
        np.where(dropped, -1, coding.support).astype(np.int32),
        np.where(dropped, 0, coding.codes).astype(coding.codes.dtype),
    )


def _two_of_one(coding: Coding, place: int) -> tuple[int, Array | None]:
    """Split an atom along the residuals of its rows, if they are large."""
    D, held = coding.D, coding.support >= 0
    k = len(D)
    counts = np.maximum(np.bincount(coding.support[held], minlength=k), 1)
    shared = np.repeat(coding.errors, held.sum(axis=1))
    badness = np.bincount(coding.support[held], shared, minlength=k) / counts
    # Of few rows any direction is a good one.
    badness[counts < min(D.shape[1] / 4, len(coding.R) / k)] = 0
    double = int(np.argsort(-badness, kind="stable")[place])
    rows, slots = np.nonzero(coding.support == double)
    rest, own = coding.R[rows], coding.codes[rows, slots]
    if badness[double] <= 0 or not own.any():
        return double, None
    values, vectors = np.linalg.eigh(rest.T @ rest)
    lean = np.sqrt(max(values[-1], 0) / (own @ own)) * vectors[:, -1]
    return double, np.stack([D[double] + lean, D[double] - lean])


def _missed_row(coding: Coding, X: Array, place: int) -> Array | None:
    """Choose a badly represented row whose direction would help many others.

    An atom along it would replace the smallest coefficient of a row where its
    correlation with the residual is larger. Later places are of other directions.
    """
    worst = np.argsort(-coding.errors, kind="stable")[:_CANDIDATES]
    worst = worst[coding.errors[worst] > 0]
    directions = unit_rows(X[worst])
    held = np.where(coding.support >= 0, np.square(coding.codes), 0)
    gains = np.square(coding.R @ directions.T) - held.min(axis=1, keepdims=True)
    gains = np.maximum(gains, 0).sum(axis=0)
    for _ in range(place + 1):
        if not gains.any():
            return None
        best = int(np.argmax(gains))
        gains[np.abs(directions @ directions[best]) > _ALIKE] = 0
    return directions[[best]]


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
