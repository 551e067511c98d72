"""The distortion at which data are described in the fewest nats, noise included."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox._threads import run_blocks, serial_blas
from sklearn_whitebox.solvers._agglomerative_coding import (
    merge_all_pairs,
    merge_into_fragments,
)
from sklearn_whitebox.solvers._coding_clusters import CodedClusters

Array = NDArray[np.floating]
Indices = NDArray[np.int64]

# Distortions that are tried first, as shares of the mean squared norm.
_SHARES = 10.0 ** np.arange(-4, 0.1, 0.5)

# Times that the neighbours of the best distortion are halved, on the log scale.
_N_REFINEMENTS = 2

# Features beyond which fewer samples take part, and how many do at the least.
_WIDE = 64
_LEAST_SAMPLES = 150

# Sizes of fragments that are tried.
FRAGMENT_SIZES = (1, 6, 15)


class DistortionPath(NamedTuple):
    """Clusterings over distortions, from fine to coarse.

    Parameters
    ----------
    distortion : ndarray of shape (n_distortions,)
        Rising.
    n_clusters : ndarray of shape (n_distortions,)
        Clusters found, without those too small to count.
    description_length : ndarray of shape (n_distortions,)
        Nats for the clusters, the labels and the residual.
    fragment_size : ndarray of shape (n_distortions,)
        Samples in the fragments that gave the shortest description.
    """

    distortion: Array
    n_clusters: Indices
    description_length: Array
    fragment_size: Indices

    def best(self) -> int:
        """Find the shortest description.

        Returns
        -------
        position : int
            Its place.
        """
        return int(np.argmin(self.description_length))


def distortion_path(
    X: Array,
    *,
    distortion: float | None = None,
    fragment_sizes: tuple[int, ...] = FRAGMENT_SIZES,
    code_mean: bool = False,
    basis_cost: bool = True,
    min_cluster_size: int = 1,
    max_samples: int = 600,
    n_jobs: int | None = None,
) -> DistortionPath:
    r"""Cluster samples at many distortions, and measure the whole description.

    A coding length leaves a residual of variance :math:`\epsilon^2/d` a coordinate.
    Written down to any fixed precision, it costs the same constant at every distortion,
    and

    .. math:: T(\epsilon^2) = L_s(X; \epsilon^2)
       + \tfrac{n p}{2} \log \tfrac{\epsilon^2}{d}

    for n samples of rank p. Finer distortions pay for noise in the clusters, coarser
    ones for structure in the residual.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    distortion : float, default=None
        The only distortion to try; None tries many.
    fragment_sizes : tuple of int, default=(1, 6, 15)
        Sizes of the fragments to start from; the best is taken at each distortion.
    code_mean : bool, default=False
        Code clusters around their means.
    basis_cost : bool, default=True
        Pay for the subspaces of the clusters.
    min_cluster_size : int, default=1
        Smaller clusters are not counted.
    max_samples : int, default=600
        Samples that take part; of more, as many are taken at equal steps along the
        leading principal direction. Beyond 64 features fewer take part, down to 150,
        since the time grows with their square.
    n_jobs : int, default=None
        Threads, as in joblib.

    Returns
    -------
    path : DistortionPath
        Distortions from 1e-4 to 1 times the mean squared norm of the centred samples,
        half a decade apart and closer around the best.
    """
    narrow = min(1.0, _WIDE / X.shape[1])
    most = min(max_samples, max(int(max_samples * narrow), _LEAST_SAMPLES))
    rows = _spread_rows(X, most).astype(np.float64)
    centred = rows - rows.mean(axis=0)
    reference = float(np.mean(np.einsum("ij,ij->i", centred, centred)))
    if not reference > 0:
        # Copies of one row.
        reference = float(rows[0] @ rows[0])
        reference = distortion or (reference if reference > 0 else 1.0)
        one = np.ones(1, np.int64)
        return DistortionPath(one * reference, one, 0.0 * one, one)
    with serial_blas():
        starts = _starts(rows, fragment_sizes, code_mean)
    rank = int(np.linalg.matrix_rank(rows))

    def describe(shares: Array) -> list[tuple[float, int, float, int]]:
        common = (starts, rank, code_mean, basis_cost, min_cluster_size)
        blocks = ((rows, share * reference, *common) for share in shares)
        return run_blocks(_description, blocks, n_jobs=n_jobs)

    shares = _SHARES if distortion is None else np.array([distortion / reference])
    found = describe(shares)
    for _ in range(_N_REFINEMENTS if distortion is None else 0):
        best = int(np.argmin([length for _, _, length, _ in found]))
        around = shares[max(best - 1, 0) : best + 2]
        between = np.sqrt(around[1:] * around[:-1])
        found += describe(between)
        shares = np.concatenate([shares, between])
        order = np.argsort(shares)
        shares, found = shares[order], [found[k] for k in order]
    return DistortionPath(*(np.array(values) for values in zip(*found, strict=True)))


def _starts(
    rows: Array, sizes: tuple[int, ...], code_mean: bool
) -> list[tuple[int, Indices | None]]:
    """Fragments of each size; all larger ones grow from the same steps."""
    starts: list[tuple[int, Indices | None]] = [(1, None)] if 1 in sizes else []
    larger = [size for size in sizes if 1 < size <= len(rows) // 2]
    if larger:
        tree = merge_into_fragments(rows, max(larger), code_mean=code_mean)
        starts += [(k, tree.labels(len(rows) - len(rows) // k)) for k in larger]
    return starts or [(1, None)]


def _description(
    rows: Array,
    distortion: float,
    starts: list[tuple[int, Indices | None]],
    rank: int,
    code_mean: bool,
    basis_cost: bool,
    min_cluster_size: int,
) -> tuple[float, int, float, int]:
    best = (distortion, 0, np.inf, 1)
    noise = len(rows) * rank / 2 * np.log(distortion / rows.shape[1])
    for size, start in starts:
        clusters = CodedClusters(
            rows,
            start,
            distortion=distortion,
            code_mean=code_mean,
            basis_cost=basis_cost,
        )
        tree = merge_all_pairs(clusters)
        length = float(tree.lengths[-1] + noise)
        if length < best[2] - 1e-9 * abs(length):
            labels = tree.labels(len(tree.costs))
            sizes = np.bincount(labels if start is None else labels[start])
            n_clusters = int((sizes >= min_cluster_size).sum())
            best = (distortion, n_clusters, length, size)
    return best


def _spread_rows(X: Array, most: int) -> Array:
    """Take rows at equal steps along the leading direction, whatever their order."""
    if len(X) <= most:
        return X
    rows = X.astype(np.float64)
    _, vectors = np.linalg.eigh(rows.T @ rows) if X.shape[1] <= 512 else (None, None)
    if vectors is None:
        position = np.einsum("ij,ij->i", rows, rows)
    else:
        leading = vectors[:, -1]
        position = rows @ (leading * np.sign(leading[np.argmax(np.abs(leading))]))
    order = np.argsort(position, kind="stable")
    chosen = order[np.linspace(0, len(X) - 1, most).round().astype(np.int64)]
    return X[np.sort(chosen)]
