"""First guesses of subspaces, grown from the neighbours of drawn rows."""

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox.solvers._flats import Flats, Rows, fit_flat, flat_residuals

Array = NDArray[np.floating]
Indices = NDArray[np.int64]

# Candidates for each subspace, of which the one that lowers the distances most stays.
_TRIALS = 4

# Rounds in which a candidate is fitted again to the rows nearest to it.
_ROUNDS = 2


def seed_flats(
    rows: Rows, dims: Indices, *, affine: bool, rng: np.random.Generator
) -> Flats:
    """Guess subspaces one after another where the rows are far from the earlier ones.

    A row is drawn with a probability in proportion to its distance to the subspaces so
    far, and a subspace grown from it, see :func:`grow_flat`. Of four such candidates
    the one that leaves the least sum of distances is kept. Distances, not their
    squares, so that one subspace well met counts more than a compromise between many.

    Parameters
    ----------
    rows : Rows
        Rows.
    dims : ndarray of shape (n_flats,)
        Dimensions.
    affine : bool
        Whether the subspaces may miss the origin.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    flats : Flats
        The subspaces.
    """
    left = np.sqrt(rows.squares)
    bases: list[Array] = []
    offsets: list[Array | None] = []
    for dim in dims:
        found = []
        for trial in range(_TRIALS):
            i = draw_row(rows, left, rng)
            basis, offset = grow_flat(rows, i, dim, affine=affine, greedy=trial % 2 < 1)
            single = Flats([basis], None if offset is None else offset[None])
            distances = np.sqrt(flat_residuals(rows, single)[0])
            if len(bases) or not affine:
                distances = np.minimum(left, distances)
            found.append((rows.total(distances), trial, basis, offset, distances))
        _, _, basis, offset, left = min(found, key=lambda one: one[:2])
        bases.append(basis)
        offsets.append(offset)
    return Flats.of(bases, offsets)


def random_flats(
    rows: Rows, dims: Indices, *, affine: bool, rng: np.random.Generator
) -> Flats:
    """Draw uniformly random subspaces, through random rows if they are affine."""
    n_features = rows.X.shape[1]
    bases = [
        np.linalg.qr(rng.standard_normal((n_features, dim)))[0].T.astype(rows.X.dtype)
        for dim in dims
    ]
    if not affine:
        return Flats(bases)
    ones = np.ones_like(rows.squares)
    return Flats(bases, rows.X[[draw_row(rows, ones, rng) for _ in dims]])


def draw_row(rows: Rows, values: Array, rng: np.random.Generator) -> int:
    """Draw a row with a probability in proportion to its weight times a value."""
    weighted = values.astype(np.float64)
    if rows.weights is not None:
        weighted = weighted * rows.weights
    cumulated = np.cumsum(weighted)
    if cumulated[-1] <= 0:
        return int(rng.integers(len(weighted)))
    place = np.searchsorted(cumulated, rng.random() * cumulated[-1], side="right")
    return min(int(place), len(weighted) - 1)


def grow_flat(
    rows: Rows,
    i: int,
    dim: int,
    *,
    affine: bool,
    greedy: bool,
    n_rounds: int = _ROUNDS,
) -> tuple[Array, Array | None]:
    """Grow a subspace from one row.

    Parameters
    ----------
    rows : Rows
        Rows.
    i : int
        The row to start from.
    dim : int
        Dimension.
    affine : bool
        Whether the subspace may miss the origin.
    greedy : bool
        Whether to add, one at a time, the row with the largest share in the span of
        those before, which meets a subspace exactly if there is no noise. Else the
        subspace is fitted to the rows at the least angles, which averages noise.
    n_rounds : int, default=2
        Rounds of fitting again; with none, a greedy subspace holds its row exactly.

    Returns
    -------
    basis : ndarray of shape (at most dim, n_features)
        Orthonormal rows.
    offset : ndarray of shape (n_features,) or None
        Mean of the rows used, if `affine`.

    References
    ----------
    .. [1] Park, Caramanis, Sanghavi (2014). Greedy subspace clustering. NeurIPS.
    """
    if dim == 0:
        return np.empty((0, rows.X.shape[1]), rows.X.dtype), rows.X[i]
    units = _directions_from(rows, i, affine)
    count = min(2 * dim + 1, len(units))
    start = i
    if affine:
        away = np.square(rows.X - rows.X[i]).sum(axis=1)
        away[i] = np.inf
        start = int(away.argmin())
    if greedy:
        basis = _greedy_span(units, start, dim)
    else:
        score = -away if affine else np.abs(units @ units[i])
        basis, _ = _fit(rows, _largest(score, count), dim, affine)
    offset = rows.X[i] if affine else None
    for _ in range(n_rounds):
        # Rows of another length say as much of a direction.
        shares = np.square(units @ basis.T).sum(axis=1)
        shares[i] = np.inf
        basis, offset = _fit(rows, _largest(shares, count), dim, affine)
    return basis, offset


def _fit(
    rows: Rows, members: Indices, dim: int, affine: bool
) -> tuple[Array, Array | None]:
    X = rows.X[members] if affine else rows.units[members]
    return fit_flat(X, None, dim, affine=affine)


def _directions_from(rows: Rows, i: int, affine: bool) -> Array:
    if not affine:
        return rows.units
    shifted = rows.X - rows.X[i]
    norms = np.linalg.norm(shifted, axis=1)
    return shifted / np.where(norms > 0, norms, 1)[:, None]


def _largest(values: Array, count: int) -> Indices:
    if count >= len(values):
        return np.arange(len(values))
    return np.sort(np.argpartition(-values, count)[:count])


def _greedy_span(units: Array, i: int, dim: int) -> Array:
    basis = np.zeros((dim, units.shape[1]), units.dtype)
    shares = np.zeros(len(units), units.dtype)
    found = 0
    for _ in range(2 * dim):
        direction = units[i].copy()
        for _ in range(2):  # once more for the digits lost to cancellation
            direction -= (direction @ basis[:found].T) @ basis[:found]
        norm = np.linalg.norm(direction)
        shares[i] = -np.inf
        if norm > 100 * np.finfo(units.dtype).eps:
            basis[found] = direction / norm
            shares += np.square(units @ basis[found])
            found += 1
        if found == dim:
            break
        i = int(shares.argmax())
    if found == 0:
        basis[0, 0] = found = 1
    return basis[:found]
