"""Votes of many short runs of K-subspaces on which rows belong together."""

from collections.abc import Callable, Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import sparse

from sklearn_whitebox._threads import run_blocks
from sklearn_whitebox.solvers._alternation import alternate
from sklearn_whitebox.solvers._flat_seeds import random_flats, seed_flats
from sklearn_whitebox.solvers._flats import Rows

Array = NDArray[np.floating]
Indices = NDArray[np.int64]
Callback = Callable[[int, float], bool]

# Rows whose votes are counted at a time.
_BLOCK = 512

# Rows that the first subspaces of a member are grown from, drawn anew for each.
_MAX_SEEDED = 2_000

# Members between two reports to the callback.
_BATCH = 16


def ensemble_labels(
    X: Array,
    n_clusters: int,
    *,
    subspace_dim: int | Sequence[int],
    n_estimators: int = 200,
    max_iter: int = 3,
    init: str = "k-subspaces++",
    n_jobs: int | None = None,
    seed: int = 0,
    callback: Callback | None = None,
) -> tuple[NDArray[np.int32], Array]:
    """Run K-subspaces many times, for a few rounds each.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    n_clusters : int
        Subspaces in each run.
    subspace_dim : int or sequence of int
        Dimension of all, or of each.
    n_estimators : int, default=200
        Runs.
    max_iter : int, default=3
        Rounds of each; 0 assigns the rows to the first subspaces.
    init : {"k-subspaces++", "random"}, default="k-subspaces++"
        Subspaces grown from the neighbours of drawn rows, or uniformly random ones.
    n_jobs : int, default=None
        Threads over the runs. The result does not depend on it.
    seed : int, default=0
        Each run has a seed of its own, drawn from this one beforehand.
    callback : callable, default=None
        Called with a count and the mean objective of the runs so far; stops if it
        returns True.

    Returns
    -------
    labels : ndarray of shape (n_samples, n_estimators)
        Nearest subspace of each row in each run, int32.
    objectives : ndarray of shape (n_estimators,)
        Sum of squared distances at the end of each run.
    """
    rows = Rows.of(np.ascontiguousarray(X))
    dims = np.broadcast_to(np.asarray(subspace_dim, np.int64), n_clusters)
    dims = np.minimum(dims, min(X.shape))
    seeds = np.random.SeedSequence(seed).spawn(n_estimators)
    found: list[tuple[NDArray[np.int32], float]] = []
    for start in range(0, n_estimators, _BATCH):
        batch = seeds[start : start + _BATCH]
        blocks = [(rows, dims, init, max_iter, one) for one in batch]
        found += run_blocks(_member, blocks, n_jobs=n_jobs)
        mean = float(np.mean([objective for _, objective in found]))
        if callback is not None and callback(len(found), mean):
            break
    labels = np.stack([member for member, _ in found], axis=1)
    return labels, np.array([objective for _, objective in found])


def _member(
    rows: Rows, dims: Indices, init: str, max_iter: int, seed: np.random.SeedSequence
) -> tuple[NDArray[np.int32], float]:
    rng = np.random.default_rng(seed)
    dims = rng.permutation(dims)
    if init == "random":
        flats = random_flats(rows, dims, affine=False, rng=rng)
    else:
        seen = rows
        if len(rows.X) > _MAX_SEEDED:
            drawn = np.sort(rng.choice(len(rows.X), _MAX_SEEDED, replace=False))
            seen = Rows.of(rows.X[drawn])
        flats = seed_flats(seen, dims, affine=False, rng=rng)
    run = alternate(rows, flats, dims, max_iter=max_iter + 1, tol=0.0)
    return run.labels.astype(np.int32), run.objective[-1]


def co_association(
    labels: NDArray[np.int32],
    n_neighbors: int,
    *,
    weights: Array | None = None,
    n_jobs: int | None = None,
) -> sparse.csr_array:
    r"""Share of the runs that put two rows together, for the most frequent partners.

    Parameters
    ----------
    labels : ndarray of shape (n_samples, n_runs)
        Cluster of each row in each run.
    n_neighbors : int
        Partners kept of each row; ties go to the first.
    weights : ndarray of shape (n_runs,), default=None
        Say of each run; None for one each.
    n_jobs : int, default=None
        Threads over blocks of rows.

    Returns
    -------
    shares : csr_array of shape (n_samples, n_samples)
        Rows with at most `n_neighbors` entries in (0, 1] and zero diagonal.

    Notes
    -----
    Costs O(n² B) additions for B runs, and O(n) memory for each of the threads: counts
    are made for 512 rows at a time, so that the n × n matrix never exists.

    References
    ----------
    .. [1] Lipor, Hong, Tan, Balzano (2021). Subspace clustering using ensembles of
       K-subspaces. Information and Inference 10(1).

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.array([[0, 1], [0, 1], [1, 0]], dtype=np.int32)
    >>> co_association(labels, 1).toarray()
    array([[0., 1., 0.],
           [1., 0., 0.],
           [0., 0., 0.]])
    """
    n_samples, n_runs = labels.shape
    say = np.ones(n_runs) if weights is None else np.asarray(weights, np.float64)
    say = (say / say.sum()).astype(np.float32)
    columns = np.ascontiguousarray(labels.T)
    n_neighbors = min(n_neighbors, n_samples - 1)
    starts = range(0, n_samples, _BLOCK)
    blocks = [(columns, say, start, _BLOCK, n_neighbors) for start in starts]
    parts = run_blocks(_top_partners, blocks, n_jobs=n_jobs)
    indices = np.concatenate([part[0] for part in parts])
    data = np.concatenate([part[1] for part in parts]).astype(np.float64)
    pointers = np.arange(n_samples + 1) * n_neighbors
    shape = (n_samples, n_samples)
    shares = sparse.csr_array((data.ravel(), indices.ravel(), pointers), shape=shape)
    shares.eliminate_zeros()
    shares.sort_indices()
    return shares


def _top_partners(
    columns: NDArray[np.int32], say: Array, start: int, size: int, n_neighbors: int
) -> tuple[Indices, Array]:
    counts = _count_votes(columns, say, start, min(size, columns.shape[1] - start))
    # A stable order breaks ties without regard to where the block begins.
    indices = np.empty((len(counts), n_neighbors), np.int64)
    for i, votes in enumerate(counts):
        votes[start + i] = -1
        least = np.partition(votes, -n_neighbors)[-n_neighbors]
        above = np.flatnonzero(votes > least)
        level = np.flatnonzero(votes == least)[: n_neighbors - len(above)]
        indices[i] = np.concatenate([above, level])
    return indices, np.take_along_axis(counts, indices, axis=1)


@njit(nogil=True, cache=True)
def _count_votes(
    columns: NDArray[np.int32], say: Array, start: int, size: int
) -> NDArray[np.float32]:
    n_runs, n_samples = columns.shape
    counts = np.zeros((size, n_samples), np.float32)
    for i in range(size):
        row = counts[i]
        for b in range(n_runs):
            mine = columns[b, start + i]
            column = columns[b]
            vote = say[b]
            for j in range(n_samples):
                row[j] += vote if column[j] == mine else np.float32(0)
    return counts
