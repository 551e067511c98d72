"""K-subspaces: assign rows to the nearest subspace, fit subspaces to rows, in turn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox._threads import run_blocks, serial_blas
from sklearn_whitebox.solvers._alternation import (
    Partition,
    alternate,
    exchange,
    is_exact,
)
from sklearn_whitebox.solvers._flat_seeds import random_flats, seed_flats
from sklearn_whitebox.solvers._flats import Flats, Rows, exact_distances
from sklearn_whitebox.solvers._result import SolverResult
from sklearn_whitebox.solvers._subspace_dimension import choose_dims
from sklearn_whitebox.solvers._weighted_rows import merge_equal_rows

Array = NDArray[np.floating]
Indices = NDArray[np.int64]
Callback = Callable[[int, float], bool]

# Rows on which starts are tried; only the best goes on with all rows.
_MAX_TRIED = 20_000


def k_subspaces(
    X: Array,
    n_clusters: int,
    *,
    subspace_dim: int | Sequence[int] | str = "auto",
    affine: bool = False,
    init: str | Sequence[Array] = "k-subspaces++",
    n_init: int = 4,
    n_swaps: int = 10,
    max_iter: int = 100,
    tol: float = 1e-6,
    sample_weight: Array | None = None,
    n_jobs: int | None = None,
    seed: int = 0,
    callback: Callback | None = None,
) -> SolverResult:
    r"""Cluster rows by the subspace they are nearest to.

    Minimises :math:`\sum_i w_i \min_k \|x_i - m_k - (x_i - m_k) U_k^\top U_k\|^2` over
    orthonormal bases :math:`U_k`, and offsets :math:`m_k` if `affine`, by turns: rows
    go to their nearest subspace, subspaces to the principal directions of their rows.
    Then subspaces that are missed least are exchanged for new ones, grown where rows
    are far from all others, as long as that helps.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    n_clusters : int
        Number of subspaces, K.
    subspace_dim : int, sequence of int or "auto", default="auto"
        Dimension of all, or of each, in any order; or those that tell the clusters
        apart best, see :func:`choose_subspace_dims`.
    affine : bool, default=False
        Whether subspaces may miss the origin.
    init : {"k-subspaces++", "random"} or sequence of ndarray, default="k-subspaces++"
        Subspaces grown from the neighbours of rows that are far from the earlier ones,
        uniformly random ones, or bases of shape (dim, n_features) to start from.
    n_init : int, default=4
        Starts, of which the best is kept; one if `init` is given.
    n_swaps : int, default=10
        Exchanges tried in each start.
    max_iter : int, default=100
        Most rounds.
    tol : float, default=1e-6
        Relative decrease of the objective at which rounds end.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights; whole ones have the effect of repeated rows.
    n_jobs : int, default=None
        Threads over the starts. The result does not depend on it.
    seed : int, default=0
        Seed of the starts.
    callback : callable, default=None
        Called with a count and the least objective so far after each start, and then
        after each round of the best; stops if it returns True.

    Returns
    -------
    result : SolverResult
        ``solution`` holds ``labels`` (-1 for rows without weight), ``bases``,
        ``offsets`` (None if linear), and ``inertia``; clusters are sorted by falling
        weight. ``objective`` never increases.

    Notes
    -----
    A round costs O(n d Σ dim) time for the distances, and for the subspaces as much or
    O(n d min(d, n/K)), whichever is less. More than 20,000 rows see only the rounds of
    the best start, which is found on a sample. Equal rows are merged, so the result
    depends on the order of the rows only by the names of the clusters.

    References
    ----------
    .. [1] Bradley, Mangasarian (2000). k-plane clustering. J. Global Optimization 16.
    .. [2] Tseng (2000). Nearest q-flat to m points. J. Optimization Theory 105(1).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, -2.0]])
    >>> k_subspaces(X, 2, subspace_dim=1).solution["inertia"]
    0.0
    """
    weights = np.ones(len(X)) if sample_weight is None else sample_weight
    first, inverse, totals = merge_equal_rows(X, weights)
    frame, rows = _enter_frame(X[first], totals, affine, lossless=isinstance(init, str))
    start = init if isinstance(init, str) else frame.enter(init, affine)
    seeds = np.random.SeedSequence(seed).spawn(n_init if isinstance(init, str) else 1)
    tried = rows.first(_MAX_TRIED)
    guess = None
    with serial_blas():
        if isinstance(start, Flats):
            dims = np.array([len(basis) for basis in start.bases])
        elif isinstance(subspace_dim, str):
            dims, guess = choose_dims(
                tried, n_clusters, affine=affine, seed=seed, n_jobs=n_jobs
            )
        else:
            dims = np.broadcast_to(np.asarray(subspace_dim, np.int64), n_clusters)
            dims = np.minimum(dims, min(rows.X.shape))
        blocks = [
            (tried, dims, affine, start, n_swaps, one, max_iter, tol) for one in seeds
        ]
        runs = run_blocks(_one_start, blocks, n_jobs=n_jobs)
        if guess is not None:
            runs.append(alternate(tried, guess, dims, max_iter=max_iter, tol=tol))
        ends = [run.objective[-1] for run in runs]
        report = _Report(callback, frame.scale**2)
        for i in range(len(ends)):
            report(min(ends[: i + 1]))
        best = runs[int(np.argmin(ends))]
        if len(tried.X) < len(rows.X):
            best = alternate(
                rows, best.flats, best.dims, callback=report, max_iter=max_iter, tol=tol
            )
    return _result(best, rows, inverse, frame)


def choose_subspace_dims(
    X: Array,
    n_clusters: int,
    *,
    affine: bool = False,
    n_jobs: int | None = None,
    seed: int = 0,
) -> Indices:
    """Choose the dimensions of K subspaces by description length or margin.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    n_clusters : int
        Number of subspaces, K.
    affine : bool, default=False
        Whether subspaces may miss the origin.
    n_jobs : int, default=None
        Threads over the starts of the fits that are compared.
    seed : int, default=0
        Seed of these fits.

    Returns
    -------
    dims : ndarray of shape (n_clusters,)
        What ``subspace_dim="auto"`` of :func:`k_subspaces` takes.
    """
    first, _, totals = merge_equal_rows(X, np.ones(len(X)))
    _, rows = _enter_frame(X[first], totals, affine, lossless=True)
    with serial_blas():
        return choose_dims(rows, n_clusters, affine=affine, seed=seed, n_jobs=n_jobs)[0]


class _Report:
    """Count the calls of a callback and remember whether it asked to stop."""

    def __init__(self, callback: Callback | None, unit: float) -> None:
        self._callback = callback
        self._unit = unit
        self._count = 0
        self._stopped = False

    def __call__(self, objective: float) -> bool:
        if self._callback is not None:
            stop = self._callback(self._count, objective * self._unit)
            self._stopped = bool(stop) or self._stopped
            self._count += 1
        return self._stopped


@dataclass(frozen=True)
class _Frame:
    """Coordinates in which the rows are neither huge nor tiny, nor wider than many."""

    scale: float
    center: Array
    directions: Array | None

    def enter(self, bases: Sequence[Array], affine: bool) -> Flats:
        orthonormal = [
            np.linalg.qr(np.asarray(basis, self.center.dtype).T)[0].T for basis in bases
        ]
        # The rows are centred, so their mean is the origin.
        offsets = np.zeros((len(bases), len(self.center)), self.center.dtype)
        return Flats(orthonormal, offsets if affine else None)

    def leave(self, flats: Flats) -> Flats:
        bases, offsets = flats.bases, flats.offsets
        if self.directions is not None:
            bases = [basis @ self.directions for basis in bases]
            offsets = None if offsets is None else offsets @ self.directions
        if offsets is not None:
            offsets = offsets * offsets.dtype.type(self.scale) + self.center
        return Flats(bases, offsets)


def _enter_frame(
    X: Array, totals: Array, affine: bool, lossless: bool
) -> tuple[_Frame, Rows]:
    # A power of two divides without rounding.
    peak = float(np.abs(X).max())
    scale = 2.0 ** np.floor(np.log2(peak)) if peak > 0 else 1.0
    X = X / X.dtype.type(scale)
    center = np.zeros(X.shape[1], X.dtype)
    if affine:
        center = np.average(X, axis=0, weights=totals).astype(X.dtype)
        X = X - center
    directions = None
    if lossless and X.shape[1] > X.shape[0]:
        # All the rows, and so all subspaces of theirs, lie in the span of the rows.
        directions, coordinates = np.linalg.qr(X.T)
        directions, X = directions.T, np.ascontiguousarray(coordinates.T)
    frame = _Frame(scale, center * X.dtype.type(scale), directions)
    return frame, Rows.of(np.ascontiguousarray(X), totals)


def _one_start(
    rows: Rows,
    dims: Indices,
    affine: bool,
    init: str | Flats,
    n_swaps: int,
    seed: np.random.SeedSequence,
    max_iter: int,
    tol: float,
) -> Partition:
    rng = np.random.default_rng(seed)
    if isinstance(init, Flats):
        flats = init
    else:
        dims = rng.permutation(dims)
        make = random_flats if init == "random" else seed_flats
        flats = make(rows, dims, affine=affine, rng=rng)
    found = alternate(rows, flats, dims, max_iter=max_iter, tol=tol)
    found = exchange(rows, found, n_swaps, rng, max_iter=max_iter, tol=tol)
    if is_exact(rows, dims):
        return found
    return alternate(rows, found.flats, dims, max_iter=max_iter, tol=tol, before=found)


def _result(
    best: Partition, rows: Rows, inverse: Indices, frame: _Frame
) -> SolverResult:
    weights = np.ones(len(rows.X)) if rows.weights is None else rows.weights
    sizes = np.bincount(best.labels, weights, len(best.flats.bases))
    order = np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]
    rank = np.full(len(sizes), -1)
    rank[order] = np.arange(len(order))
    offsets = best.flats.offsets
    flats = Flats(
        [best.flats.bases[k] for k in order],
        None if offsets is None else offsets[order],
    )
    labels = rank[best.labels]
    inertia = 0.0
    for k, basis in enumerate(flats.bases):
        members = np.flatnonzero(labels == k)
        offset = None if flats.offsets is None else flats.offsets[k : k + 1]
        distances = exact_distances(rows.X[members], Flats([basis], offset))[:, 0]
        inertia += float(weights[members] @ np.square(distances.astype(np.float64)))
    outside = frame.leave(flats)
    unit = frame.scale**2
    return SolverResult(
        solution={
            "labels": np.where(inverse >= 0, labels[inverse], -1),
            "bases": outside.bases,
            "offsets": outside.offsets,
            "inertia": float(inertia * unit),
        },
        n_iter=len(best.objective),
        converged=best.converged,
        objective=[float(value * unit) for value in best.objective],
    )
