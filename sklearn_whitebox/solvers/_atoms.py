"""Atoms in a form that does not depend on the path taken: unit, signed, ordered."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def unit_rows(D: Array) -> Array:
    """Scale rows to unit norm; rows that are zero stay zero.

    Parameters
    ----------
    D : ndarray of shape (n_rows, n_columns)
        Rows.

    Returns
    -------
    unit : ndarray of shape (n_rows, n_columns)
        A new array.
    """
    # Squares of very long or short rows do not fit, entries over the largest do.
    largest = np.abs(D).max(axis=1, keepdims=True, initial=0.0)
    D = D / np.where(largest > 0, largest, 1)
    norms = np.linalg.norm(D, axis=1, keepdims=True)
    return D / np.where(norms > 0, norms, 1)


def feasible_atoms(D: Array, *, positive: bool, may_flip: bool = False) -> Array:
    """Make a start that the constraints on atoms allow.

    Parameters
    ----------
    D : ndarray of shape (n_components, n_features)
        Any rows.
    positive : bool
        Whether atoms must not have negative entries.
    may_flip : bool, default=False
        Whether a row of which nothing is left may give its negative part instead,
        because codes may be negative.

    Returns
    -------
    atoms : ndarray of shape (n_components, n_features)
        Unit rows; those of which nothing is left are zero.
    """
    if not positive:
        return unit_rows(D)
    kept = np.maximum(D, 0)
    if may_flip:
        kept = np.where(kept.any(axis=1, keepdims=True), kept, np.maximum(-D, 0))
    return unit_rows(kept)


def order_atoms(components: Array, energy: Array, *, fix_signs: bool = True) -> Array:
    """Give atoms unit norm, a positive largest entry, and decreasing energy.

    Parameters
    ----------
    components : ndarray of shape (n_components, n_features)
        One atom per row.
    energy : ndarray of shape (n_components,)
        Mean square of the codes of each atom.
    fix_signs : bool, default=True
        Whether an atom may be negated; not where codes are constrained in sign.

    Returns
    -------
    ordered : ndarray of shape (n_components, n_features)
        The same atoms in an order and with signs that do not depend on the start.
    """
    ordered = unit_rows(components[np.argsort(-energy, kind="stable")])
    if not fix_signs:
        return ordered
    largest = np.argmax(np.abs(ordered), axis=1)
    signs = np.sign(ordered[np.arange(len(ordered)), largest])
    return ordered * np.where(signs < 0, -1, 1).astype(ordered.dtype)[:, None]


def initial_atoms(
    X: Array,
    n_components: int,
    generator: np.random.Generator,
    *,
    is_signed: bool = False,
) -> Array:
    """Pick distinct samples as atoms, and random directions where they run out.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    n_components : int
        Number of atoms.
    generator : numpy.random.Generator
        Source of randomness.
    is_signed : bool, default=False
        Whether an atom and its negative are different, because codes have one sign.

    Returns
    -------
    atoms : ndarray of shape (n_components, n_features)
        Unit rows; those taken from samples differ by a cosine below 0.9 as far as
        ten times as many samples as atoms allow.
    """
    candidates = generator.permutation(len(X))[: 10 * n_components]
    rows = unit_rows(X[candidates])
    rows = rows[np.any(rows != 0, axis=1)]
    atoms = np.empty((n_components, X.shape[1]), dtype=X.dtype)
    found = 0
    similar = []
    for index, row in enumerate(rows):
        if found == n_components:
            break
        cosines = atoms[:found] @ row
        if found and np.max(cosines if is_signed else np.abs(cosines)) >= 0.9:
            similar.append(index)
            continue
        atoms[found] = row
        found += 1
    # Blends of a similar sample and of noise keep atoms apart without leaving the data.
    noise = unit_rows(
        generator.standard_normal((n_components - found, X.shape[1])).astype(X.dtype)
    )
    for i, index in enumerate(similar[: n_components - found]):
        noise[i] += rows[index]
    atoms[found:] = unit_rows(noise)
    return atoms
