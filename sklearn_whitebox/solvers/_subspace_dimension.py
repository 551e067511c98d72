"""Dimensions of subspaces by how they differ and how they describe the rows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox._threads import run_blocks
from sklearn_whitebox.solvers._alternation import Partition, alternate, exchange
from sklearn_whitebox.solvers._flat_seeds import seed_flats
from sklearn_whitebox.solvers._flats import Flats, Rows, fit_flat

Array = NDArray[np.floating]
Indices = NDArray[np.int64]

# Rows on which dimensions are compared.
_MAX_ROWS = 4_000

# Leading principal coordinates in which they are compared.
_MAX_COORDINATES = 200

# Up to so many features each dimension is tried; beyond, dimensions grow by a quarter,
# and the search ends after so many in a row that leave the margin low.
_ALL = 16
_GROWTH = 1.25
_PATIENCE = 3

# Share of the largest margin that makes a dimension eligible.
_ELIGIBLE = 0.9

# Exchanges in the fit of each dimension, starts, and starts next to the best.
_SWAPS = 5
_STARTS = 2
_MORE_STARTS = 5

# Rounds in which single dimensions move.
_ROUNDS = 5

# Variance of rows that are all zero.
_TINY = 1e-300

# Relative decrease at which the rounds of a comparison end.
_TOL = 1e-4


def description_length(rows: Rows, partition: Partition) -> float:
    r"""Length of a code for rows, labels and subspaces, in nats.

    Rows are Gaussian with free variances :math:`\lambda_{kj}` along the directions of
    their subspace and one variance :math:`\sigma^2`, common to all clusters, across:

    .. math:: \tfrac12 \sum_k n_k \sum_j \log\lambda_{kj}
       + \tfrac12 \log\sigma^2 \sum_k n_k (d - d_k)
       - \sum_k n_k \log\tfrac{n_k}{n} + \tfrac{m}{2} \log n

    with m the number of free parameters of the bases, offsets and variances. Constants
    that do not depend on the partition are left out.

    Parameters
    ----------
    rows : Rows
        Rows.
    partition : Partition
        Subspaces and labels.

    Returns
    -------
    length : float
        The length; differences have a meaning, the value has none.

    References
    ----------
    .. [1] Tipping, Bishop (1999). Mixtures of probabilistic principal component
       analysers. Neural Computation 11(2).
    .. [2] Schwarz (1978). Estimating the dimension of a model. Annals of Statistics
       6(2).
    """
    flats = partition.flats
    n_features = rows.X.shape[1]
    weights = np.ones(len(rows.X)) if rows.weights is None else rows.weights
    total = float(weights.sum(dtype=np.float64))
    energy = rows.total(rows.squares)
    floor = np.finfo(rows.X.dtype).eps * energy / (total * n_features) or _TINY
    length, across, n_free = 0.0, 0.0, 1.0
    for k, basis in enumerate(flats.bases):
        members = np.flatnonzero(partition.labels == k)
        if len(members) == 0:
            continue
        size = float(weights[members].sum(dtype=np.float64))
        dim = len(basis)
        X = rows.X[members]
        if flats.offsets is not None:
            X = X - flats.offsets[k]
            n_free += n_features
        along = (X @ basis.T).astype(np.float64)
        variances = np.linalg.eigvalsh((along.T * weights[members]) @ along / size)
        length += size / 2 * np.log(np.maximum(variances, floor)).sum()
        length -= size * np.log(size / total)
        across += size * (n_features - dim)
        n_free += dim * n_features - dim * (dim - 1) / 2
    noise = rows.total(partition.least) / max(across, 1)
    length += across / 2 * np.log(max(noise, floor))
    return float(length + n_free / 2 * np.log(max(total, 2)))


def margin(rows: Rows, partition: Partition) -> float:
    r"""Squared distance added if each row went to its second nearest subspace.

    Subspaces of too small a dimension miss their own rows, too large ones do not miss
    those of others: the sum is largest between the two.

    Parameters
    ----------
    rows : Rows
        Rows.
    partition : Partition
        Subspaces and the distances to them.

    Returns
    -------
    margin : float
        Weighted sum of the differences of squared distances.
    """
    if len(partition.flats.bases) == 1:
        return 1.0
    return rows.total(partition.second - partition.least)


def choose_dims(
    rows: Rows, n_clusters: int, *, affine: bool, seed: int, n_jobs: int | None = None
) -> tuple[Indices, Flats]:
    """Choose the dimension of each subspace by description length or margin.

    One dimension for all is tried after the other. Flat clusters show in a length that
    drops at their dimension: it is taken if it saves more than twice what one more
    direction costs, and single dimensions then move to what the principal variances of
    their clusters support. The length of curved clusters falls slowly without end;
    then, of the dimensions with a margin of at least nine tenths of the largest, that
    of the least length is taken.

    Parameters
    ----------
    rows : Rows
        Rows, of which the first 4,000 are used, in their 200 leading principal
        coordinates.
    n_clusters : int
        Number of subspaces.
    affine : bool
        Whether subspaces may miss the origin.
    seed : int
        Seed of the fits.
    n_jobs : int, default=None
        Threads over the starts of a fit.

    Returns
    -------
    dims : ndarray of shape (n_clusters,)
        Dimensions, at most one less than the number of features and half the mean
        number of rows of a cluster.
    flats : Flats
        Subspaces of these dimensions to start from.
    """
    rows = rows.first(_MAX_ROWS)
    if rows.weights is not None:
        # Copies fix no more dimensions than one row does: weights say where to look,
        # the number of distinct rows how much is known.
        share = rows.weights * (len(rows.X) / rows.weights.sum(dtype=np.float64))
        rows = Rows.of(rows.X, share)
    rows, directions = _leading_coordinates(rows)
    n_rows, n_features = rows.X.shape
    least = 0 if affine else 1
    most = max(1, min(n_features - 1, n_rows // (2 * n_clusters)))
    fits: list[_Fit] = []

    def attempt(dim: int, n_starts: int) -> _Fit:
        seeds = np.random.SeedSequence([seed, dim, n_starts]).spawn(n_starts)
        blocks = [(rows, np.full(n_clusters, dim), affine, one) for one in seeds]
        runs = run_blocks(_fit, blocks, n_jobs=n_jobs)
        return _Fit.of(rows, min(runs, key=lambda run: run.objective[-1]))

    grid = _grid(least, most, n_features)
    low = 0
    for dim in grid:
        fits.append(attempt(dim, _STARTS))
        largest = max(fit.margin for fit in fits)
        low = 0 if fits[-1].margin >= _ELIGIBLE * largest else low + 1
        if n_features > _ALL and low >= _PATIENCE:
            break
    place = int(np.argmin([fit.length for fit in fits]))
    # One poor fit must not hide the right dimension next to the best so far.
    for i in range(max(place - 1, 0), min(place + 2, len(fits))):
        again = attempt(grid[i], _MORE_STARTS)
        fits[i] = min(fits[i], again, key=lambda fit: fit.length)
    place = int(np.argmin([fit.length for fit in fits]))
    smaller = [fit.length for fit in fits[:place]]
    flat = _move_single(rows, fits[place], most)
    price = n_clusters * n_features / 2 * np.log(max(_total(rows), 2))
    if smaller and min(smaller) - flat.length >= price:
        best = _drop_single(rows, flat)
    else:
        largest = max(fit.margin for fit in fits)
        eligible = [fit for fit in fits if fit.margin >= _ELIGIBLE * largest]
        best = min(eligible, key=lambda fit: fit.length)
    flats = best.partition.flats
    if directions is not None:
        bases: list[Array] = [basis @ directions for basis in flats.bases]
        offsets = None if flats.offsets is None else flats.offsets @ directions
        flats = Flats(bases, offsets)
    return best.partition.dims, flats


def _leading_coordinates(rows: Rows) -> tuple[Rows, Array | None]:
    if min(rows.X.shape) <= _MAX_COORDINATES:
        return rows, None
    directions, _ = fit_flat(rows.X, rows.weights, _MAX_COORDINATES, affine=False)
    return Rows.of(rows.X @ directions.T, rows.weights), directions


def _total(rows: Rows) -> float:
    return rows.total(np.ones_like(rows.squares))


@dataclass(frozen=True)
class _Fit:
    partition: Partition
    length: float
    margin: float

    @classmethod
    def of(cls, rows: Rows, partition: Partition) -> "_Fit":
        length = description_length(rows, partition)
        return cls(partition, length, margin(rows, partition))


def _grid(least: int, most: int, n_features: int) -> list[int]:
    if n_features <= _ALL:
        return list(range(least, most + 1))
    dims = [least]
    while dims[-1] < most:
        dims.append(min(most, max(dims[-1] + 1, int(dims[-1] * _GROWTH))))
    return dims


def _fit(
    rows: Rows, dims: Indices, affine: bool, seed: np.random.SeedSequence
) -> Partition:
    rng = np.random.default_rng(seed)
    flats = seed_flats(rows, dims, affine=affine, rng=rng)
    found = alternate(rows, flats, dims, max_iter=100, tol=_TOL)
    return exchange(rows, found, _SWAPS, rng, max_iter=100, tol=_TOL)


def _move_single(rows: Rows, best: _Fit, most: int) -> _Fit:
    for _ in range(_ROUNDS):
        dims, flats = _supported_dims(rows, best.partition, most)
        if np.array_equal(dims, best.partition.dims):
            break
        trial = _Fit.of(rows, alternate(rows, flats, dims, max_iter=100, tol=_TOL))
        if trial.length >= best.length:
            break
        best = trial
    return best


def _drop_single(rows: Rows, best: _Fit) -> _Fit:
    """Lower dimensions one at a time: a line can hide in a plane that it shares."""
    affine = best.partition.flats.offsets is not None
    for k in range(len(best.partition.dims)):
        dims = best.partition.dims.copy()
        dims[k] -= 1
        flats = best.partition.flats
        if dims[k] < (0 if affine else 1) or len(flats.bases[k]) <= dims[k]:
            continue
        lower = flats.replace(k, flats.bases[k][: dims[k]], flats.offset(k))
        trial = _Fit.of(rows, alternate(rows, lower, dims, max_iter=100, tol=_TOL))
        best = min(best, trial, key=lambda fit: fit.length)
    return best


def _supported_dims(rows: Rows, found: Partition, most: int) -> tuple[Indices, Flats]:
    """Directions of each cluster that shorten the code at the present noise."""
    flats = found.flats
    n_features = rows.X.shape[1]
    weights = np.ones(len(rows.X)) if rows.weights is None else rows.weights
    sizes = np.bincount(found.labels, weights, len(flats.bases))
    across = (sizes * [n_features - len(basis) for basis in flats.bases]).sum()
    floor = np.finfo(rows.X.dtype).eps * rows.total(rows.squares) or _TINY
    noise = max(rows.total(found.least), floor) / max(across, 1)
    dims = np.array([len(basis) for basis in flats.bases])
    bases = []
    for k, basis in enumerate(flats.bases):
        members = np.flatnonzero(found.labels == k)
        if len(members) <= 1:
            bases.append(basis)
            continue
        X = rows.X[members].astype(np.float64)
        if flats.offsets is not None:
            X = X - flats.offsets[k]
        X = X * np.sqrt(weights[members])[:, None]
        _, values, directions = np.linalg.svd(X, full_matrices=False)
        ratios = np.maximum(values**2 / sizes[k] / noise, 1)
        # Nats saved per row by a variance of its own, against the price of a direction.
        saved = sizes[k] / 2 * (ratios - 1 - np.log(ratios))
        price = (n_features - np.arange(len(values))) / 2 * np.log(max(sizes.sum(), 2))
        limit = min(most, len(members) // 2)
        fewest = 1 if flats.offsets is None else 0
        dims[k] = np.clip(np.count_nonzero(saved > price), fewest, max(1, limit))
        bases.append(directions[: dims[k]].astype(rows.X.dtype))
    return dims, Flats(bases, flats.offsets)
