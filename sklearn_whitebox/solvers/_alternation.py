"""Assign rows to subspaces and fit subspaces to rows, in turn; exchange the useless."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox.solvers._flat_seeds import draw_row, grow_flat
from sklearn_whitebox.solvers._flats import (
    FEW,
    SMALL,
    Flats,
    Rows,
    fit_flat,
    nearest_flats,
)

Array = NDArray[np.floating]
Indices = NDArray[np.int64]

# Rounds within which an exchange has to overtake, at its present pace.
_PATIENCE = 8


@dataclass(frozen=True)
class Partition:
    """Subspaces and the rows nearest to each.

    Parameters
    ----------
    flats : Flats
        Subspaces.
    dims : ndarray of shape (n_flats,)
        Dimensions asked of them.
    labels : ndarray of shape (n_samples,)
        Nearest subspace of each row.
    least, second : ndarray of shape (n_samples,)
        Squared distances to the nearest and the next subspace.
    objective : list of float
        Sum of squared distances after each round.
    converged : bool
        Whether the rounds came to an end by themselves.
    """

    flats: Flats
    dims: Indices
    labels: Indices
    least: Array
    second: Array
    objective: list[float]
    converged: bool


def is_exact(rows: Rows, dims: Indices) -> bool:
    """Tell whether all rounds compute all principal directions."""
    return rows.X.shape[1] <= max(SMALL, FEW * int(dims.min()))


def alternate(
    rows: Rows,
    flats: Flats,
    dims: Indices,
    *,
    max_iter: int,
    tol: float,
    target: float = np.inf,
    before: Partition | None = None,
    callback: Callable[[float], bool] | None = None,
) -> Partition:
    """Assign rows and fit subspaces in turn until nothing changes.

    Parameters
    ----------
    rows : Rows
        Rows.
    flats : Flats
        Subspaces to start from.
    dims : ndarray of shape (n_flats,)
        Their dimensions.
    max_iter : int
        Most rounds.
    tol : float
        Relative decrease of the objective at which to end.
    target : float, default=inf
        Objective to undercut: rounds end early if at their pace they will not.
    before : Partition, default=None
        Whose objective to continue, now with exact principal directions.
    callback : callable, default=None
        Called with the objective after each round; ends them if it returns True.

    Returns
    -------
    partition : Partition
        The last subspaces with the rows nearest to them.
    """
    curve = [] if before is None else list(before.objective)
    labels = None if before is None else before.labels
    exact = before is not None or is_exact(rows, dims)
    floor = np.finfo(rows.X.dtype).eps * rows.total(rows.squares)
    found, converged = None, False
    for iteration in range(max_iter):
        new_labels, least, second = nearest_flats(rows, flats)
        objective = rows.total(least)
        if found is not None and objective > curve[-1]:
            converged = True  # by rounding: the rounds themselves never ascend
            break
        pace = curve[-1] - objective if curve else np.inf
        settled = objective <= floor or pace <= tol * objective
        settled = settled or (labels is not None and np.array_equal(labels, new_labels))
        curve.append(float(min([objective, *curve[-1:]])))
        labels = new_labels
        found = flats, dims, labels, least, second
        if callback is not None and callback(objective):
            break
        if iteration > 0 and objective - _PATIENCE * pace > target:
            break
        if settled and exact and (iteration > 0 or before is None):
            converged = True
            break
        exact = exact or bool(settled)
        flats = _update(rows, flats, dims, labels, least, exact)
    assert found is not None
    return Partition(*found, curve, converged)


def _update(
    rows: Rows, flats: Flats, dims: Indices, labels: Indices, least: Array, exact: bool
) -> Flats:
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(len(dims) + 1))
    affine = flats.offsets is not None
    bases, offsets = [], []
    needy: list[int] = []
    for k, dim in enumerate(dims):
        members = order[bounds[k] : bounds[k + 1]]
        if len(members) == 0:
            basis, offset = flats.bases[k], flats.offset(k)
            needy.append(k)
        else:
            weights = None if rows.weights is None else rows.weights[members]
            known = None if exact or len(flats.bases[k]) < dim else flats.bases[k]
            basis, offset = fit_flat(
                rows.X[members], weights, dim, affine=affine, previous=known
            )
            if len(basis) < dim:
                needy.append(k)
        bases.append(basis)
        offsets.append(offset)
    new = Flats.of(bases, offsets)
    return _feed(rows, new, dims, bounds, least, needy) if needy else new


def _feed(
    rows: Rows,
    flats: Flats,
    dims: Indices,
    bounds: Indices,
    least: Array,
    needy: list[int],
) -> Flats:
    """Give the rows that are fitted worst to subspaces with too few rows."""
    missing = int(sum(dims[k] for k in needy))
    worst = np.argsort(-least, kind="stable")[:missing]
    queue = [int(i) for i in worst if least[i] > 0]
    for k in needy:
        if not queue:
            break
        if bounds[k] == bounds[k + 1]:
            affine = flats.offsets is not None
            grown = grow_flat(
                rows, queue.pop(0), dims[k], affine=affine, greedy=True, n_rounds=0
            )
            flats = flats.replace(k, *grown)
            continue
        offset = flats.offset(k)
        basis = flats.bases[k]
        while queue and len(basis) < dims[k]:
            direction = rows.X[queue.pop(0)] - (0 if offset is None else offset)
            direction = direction / np.linalg.norm(direction)
            for _ in range(2):  # once more for the digits lost to cancellation
                direction = direction - (direction @ basis.T) @ basis
            norm = np.linalg.norm(direction)
            if norm > 1e-3:
                basis = np.vstack([basis, direction[None] / norm])
        flats = flats.replace(k, basis, offset)
    return flats


def exchange(
    rows: Rows,
    found: Partition,
    n_swaps: int,
    rng: np.random.Generator,
    *,
    max_iter: int,
    tol: float,
) -> Partition:
    """Put new subspaces in the place of those missed least, where that helps.

    Parameters
    ----------
    rows : Rows
        Rows.
    found : Partition
        Where the rounds ended.
    n_swaps : int
        Exchanges to try.
    rng : numpy.random.Generator
        Source of randomness.
    max_iter : int
        Most rounds after an exchange.
    tol : float
        Relative decrease of the objective at which they end.

    Returns
    -------
    partition : Partition
        The best found.
    """
    floor = np.finfo(rows.X.dtype).eps * rows.total(rows.squares)
    affine = found.flats.offsets is not None
    dims = found.dims
    for swap in range(n_swaps if len(dims) > 1 else 0):
        objective = found.objective[-1]
        if objective <= floor:
            break
        excess = found.second - found.least
        excess = excess if rows.weights is None else excess * rows.weights
        losses = np.bincount(found.labels, excess, len(dims))
        rank = min(int(rng.geometric(0.5)), len(dims)) - 1
        k = int(np.argsort(losses, kind="stable")[rank])
        without = np.where(found.labels == k, found.second, found.least)
        i = draw_row(rows, without, rng)
        grown = grow_flat(rows, i, dims[k], affine=affine, greedy=swap % 2 == 0)
        trial = alternate(
            rows,
            found.flats.replace(k, *grown),
            dims,
            max_iter=max_iter,
            tol=tol,
            target=objective,
        )
        if trial.objective[-1] < (1 - tol) * objective:
            curve = [*found.objective, trial.objective[-1]]
            found = replace(trial, objective=curve)
    return found
