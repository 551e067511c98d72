"""From codes to clusters: affinity graph, components, spectral embedding."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import ArpackError, eigsh
from sklearn.exceptions import ConvergenceWarning

from sklearn_whitebox._array import check_memory
from sklearn_whitebox._threads import serial_blas

Array = NDArray[np.floating]
Indices = NDArray[np.int64]

# Graphs this small are decomposed faster, and more exactly, as dense matrices.
_DENSE = 400

# Diffusion time in units of the relaxation time of the last wanted eigenvector.
_HEAT = 0.75


def affinity_from_codes(
    codes: sparse.csr_array | Sequence[sparse.csr_array], *, shared_neighbors: int = 1
) -> sparse.csr_array:
    r"""Turn self-expressive codes into a symmetric affinity.

    The rows of the absolute codes are divided by their largest entry, and the matrix is
    added to its transpose. Each round of shared-neighbour weighting then multiplies an
    edge by the cosine of the neighbourhoods of its ends, so that edges between rows
    that are written by the same rows stay and chance edges fade; the set of edges does
    not grow.

    Parameters
    ----------
    codes : csr_array of shape (n_samples, n_samples), or sequence of them
        Row i represents sample i. The affinities of several codes are added before
        they are weighted.
    shared_neighbors : int, default=1
        Rounds of shared-neighbour weighting.

    Returns
    -------
    affinity : csr_array of shape (n_samples, n_samples)
        Symmetric, non-negative, with zero diagonal.

    Notes
    -----
    A round costs O(m k) for m edges and k neighbours a row, and O(m) memory.

    Examples
    --------
    >>> from scipy import sparse
    >>> codes = sparse.csr_array([[0.0, -2.0], [1.0, 0.0]])
    >>> affinity_from_codes(codes, shared_neighbors=0).toarray()
    array([[0., 2.],
           [2., 0.]])
    """
    several = [codes] if sparse.issparse(codes) else list(codes)
    affinity = _symmetrise(several[0])
    for more in several[1:]:
        affinity = sparse.csr_array(affinity + _symmetrise(more))
    for _ in range(shared_neighbors):
        affinity = _weight_by_shared_neighbors(affinity)
    return affinity


def _symmetrise(codes: sparse.csr_array) -> sparse.csr_array:
    weights = abs(sparse.csr_array(codes))
    weights.setdiag(0)
    weights.eliminate_zeros()
    weights = _divide_rows(weights, _row_max(weights))
    return sparse.csr_array(weights + weights.T)


def _weight_by_shared_neighbors(affinity: sparse.csr_array) -> sparse.csr_array:
    # With itself among its neighbours a row also shares with those it points at.
    hoods = sparse.csr_array(affinity + sparse.diags_array(_row_max(affinity)))
    norms = np.sqrt(np.asarray(hoods.multiply(hoods).sum(1)).ravel())
    hoods = _divide_rows(hoods, norms)
    hoods.sort_indices()
    weighted = sparse.csr_array(affinity, copy=True)
    weighted.sort_indices()
    _scale_by_cosines(
        weighted.indptr, weighted.indices, weighted.data,
        hoods.indptr, hoods.indices, hoods.data,
    )  # fmt: skip
    return sparse.csr_array((weighted + weighted.T) / 2)


@njit(nogil=True, cache=True)
def _scale_by_cosines(
    indptr: NDArray[Any],
    indices: NDArray[Any],
    data: NDArray[Any],
    hood_indptr: NDArray[Any],
    hood_indices: NDArray[Any],
    hood_data: NDArray[Any],
) -> None:
    """Multiply each entry by the inner product of two rows of another matrix."""
    n_nodes = len(indptr) - 1
    dense = np.zeros(n_nodes, hood_data.dtype)
    for i in range(n_nodes):
        for a in range(hood_indptr[i], hood_indptr[i + 1]):
            dense[hood_indices[a]] = hood_data[a]
        for e in range(indptr[i], indptr[i + 1]):
            j = indices[e]
            total = 0.0
            for a in range(hood_indptr[j], hood_indptr[j + 1]):
                total += hood_data[a] * dense[hood_indices[a]]
            data[e] *= total
        for a in range(hood_indptr[i], hood_indptr[i + 1]):
            dense[hood_indices[a]] = 0.0


def _row_max(matrix: sparse.csr_array) -> Array:
    if matrix.nnz == 0:
        return np.zeros(matrix.shape[0], matrix.dtype)
    return np.asarray(matrix.max(axis=1).todense()).ravel()


def _divide_rows(matrix: sparse.csr_array, divisors: Array) -> sparse.csr_array:
    safe = np.where(divisors > 0, divisors, 1)
    data = matrix.data / np.repeat(safe, np.diff(matrix.indptr))
    return sparse.csr_array((data, matrix.indices, matrix.indptr), matrix.shape)


def graph_components(affinity: sparse.csr_array) -> tuple[list[Indices], Indices]:
    """Split a graph into its connected components.

    Parameters
    ----------
    affinity : csr_array of shape (n_samples, n_samples)
        Symmetric affinity.

    Returns
    -------
    components : list of ndarray
        Sorted indices of the members of each component with at least two members,
        the largest first, equal ones in the order of their first members.
    isolated : ndarray
        Indices of the samples without an edge.
    """
    n_components, labels = connected_components(affinity, directed=False)
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels, minlength=n_components)
    groups = np.split(order, np.cumsum(sizes)[:-1])
    components = sorted(
        (group for group in groups if len(group) > 1),
        key=lambda group: (-len(group), group[0]),
    )
    alone = [group for group in groups if len(group) == 1]
    isolated = np.sort(np.concatenate(alone)) if alone else np.empty(0, np.int64)
    return components, isolated.astype(np.int64)


class SpectralPairs(NamedTuple):
    """Leading eigenpairs of a normalised affinity.

    Parameters
    ----------
    values : ndarray of shape (n_vectors,)
        Eigenvalues in falling order.
    vectors : ndarray of shape (n_samples, n_vectors)
        Eigenvectors; zero for samples without an edge.
    """

    values: Array
    vectors: Array


def spectral_pairs(
    affinity: sparse.csr_array,
    n_vectors: int,
    *,
    components: list[Indices] | None = None,
    seed: int = 0,
    tol: float = 0.0,
) -> SpectralPairs:
    """Find leading eigenpairs of the normalised affinity of a graph.

    Parameters
    ----------
    affinity : csr_array of shape (n_samples, n_samples)
        Symmetric, non-negative.
    n_vectors : int
        Eigenpairs wanted.
    components : list of ndarray, default=None
        Connected components, if known; see :func:`graph_components`.
    seed : int, default=0
        Seed of the start vector of the eigensolver.
    tol : float, default=0.0
        Its tolerance; 0 is machine precision.

    Returns
    -------
    pairs : SpectralPairs
        At most `n_vectors` of them.

    Notes
    -----
    Each connected component is decomposed apart: a Krylov solver sees only one vector
    of a multiple eigenvalue, and a graph of c components has the eigenvalue 1 c times.
    """
    if components is None:
        components, _ = graph_components(affinity)
    values, owners, blocks = [], [], []
    with serial_blas():
        for group in components:
            is_whole = len(group) == affinity.shape[0]
            part = affinity if is_whole else affinity[group][:, group]
            found, vectors = _leading_pairs(part, n_vectors, seed, tol)
            values.append(found)
            owners.append(group)
            blocks.append(vectors)
    pooled = np.concatenate(values) if values else np.empty(0)
    source = np.repeat(np.arange(len(values)), [len(v) for v in values])
    column = np.concatenate([np.arange(len(v)) for v in values] or [np.empty(0, int)])
    leading = np.argsort(-pooled, kind="stable")[:n_vectors]
    vectors = np.zeros((affinity.shape[0], len(leading)))
    for j, pick in enumerate(leading):
        vectors[owners[source[pick]], j] = blocks[source[pick]][:, column[pick]]
    return SpectralPairs(pooled[leading], vectors)


def spectral_embedding(
    affinity: sparse.csr_array,
    n_clusters: int,
    *,
    components: list[Indices] | None = None,
    seed: int = 0,
    tol: float = 0.0,
    pairs: SpectralPairs | None = None,
) -> tuple[Array, Array]:
    r"""Embed a graph by heat diffusion on its leading eigenvectors.

    Eigenvectors of :math:`D^{-1/2} W D^{-1/2}` with eigenvalues
    :math:`\lambda_1 \ge \lambda_2 \ge \dots` are weighted by
    :math:`\exp(-0.75 (1-\lambda_j)/(1-\lambda_K))`: the diffusion distance at a time
    that is set by the K-th gap, in place of a cut after exactly K vectors. The rows are
    scaled to unit length.

    Parameters
    ----------
    affinity : csr_array of shape (n_samples, n_samples)
        Symmetric, non-negative.
    n_clusters : int
        K, the number of clusters wanted.
    components : list of ndarray, default=None
        Connected components, if known; see :func:`graph_components`.
    seed : int, default=0
        Seed of the start vector of the eigensolver.
    tol : float, default=0.0
        Its tolerance; 0 is machine precision.
    pairs : SpectralPairs, default=None
        Eigenpairs, if known; see :func:`spectral_pairs`. Only the first of them that
        are wanted for `n_clusters` are used.

    Returns
    -------
    embedding : ndarray of shape (n_samples, n_vectors)
        Float64, rows of unit length; zero for samples without an edge.
    eigenvalues : ndarray of shape (n_vectors,)
        In falling order, at most ``n_clusters + max(n_clusters, 6)`` of them.
    """
    n_vectors = n_clusters + max(n_clusters, 6)
    if pairs is None:
        pairs = spectral_pairs(
            affinity, n_vectors, components=components, seed=seed, tol=tol
        )
    eigenvalues = pairs.values[:n_vectors]
    weights = _heat_weights(eigenvalues, n_clusters)
    embedding = weights * pairs.vectors[:, :n_vectors]
    norms = np.linalg.norm(embedding, axis=1, keepdims=True)
    return embedding / np.where(norms > 0, norms, 1), eigenvalues


def _heat_weights(eigenvalues: Array, n_clusters: int) -> Array:
    gaps = np.maximum(1 - eigenvalues, 0)
    last = gaps[min(n_clusters, len(gaps)) - 1] if len(gaps) else 0.0
    if last <= 1e-12:
        # K or more components: only vectors that are constant on one may speak.
        return (gaps <= 1e-12).astype(np.float64)
    return np.exp(-_HEAT * gaps / last)


def _leading_pairs(
    affinity: sparse.csr_array, n_vectors: int, seed: int, tol: float
) -> tuple[Array, Array]:
    """Leading eigenpairs of the normalised affinity of one connected graph."""
    affinity = affinity.astype(np.float64)
    degrees = np.asarray(affinity.sum(1)).ravel()
    scale = 1 / np.sqrt(degrees)
    matrix = sparse.csr_array(affinity * scale[:, None] * scale[None, :])
    n_nodes = len(degrees)
    if n_nodes <= max(_DENSE, 2 * n_vectors + 2):
        return _dense_pairs(matrix, n_vectors)
    start = np.random.default_rng(seed).uniform(0.5, 1.5, n_nodes) / scale
    try:
        values, vectors = eigsh(matrix, n_vectors, which="LA", v0=start, tol=tol)
    except ArpackError as error:
        # Only a lack of convergence comes with the pairs that were found.
        values = getattr(error, "eigenvalues", np.empty(0))
        vectors = getattr(error, "eigenvectors", np.empty((n_nodes, 0)))
        if n_nodes <= 5000 or len(values) == 0:
            return _dense_pairs(matrix, n_vectors)
        warnings.warn(
            f"The eigensolver found only {len(values)} of {n_vectors} eigenvectors of "
            f"the affinity graph of {n_nodes} samples; a larger n_nonzero_coefs or a "
            "smaller l1_ratio connects it better.",
            ConvergenceWarning,
            stacklevel=2,
        )
    order = np.argsort(-values, kind="stable")
    values, vectors = values[order], vectors[:, order]
    error_norm = np.linalg.norm(matrix @ vectors - vectors * values, axis=0)
    if error_norm.size and error_norm.max() > max(1e-6, 10 * tol):
        warnings.warn(
            "An eigenvector of the affinity graph has residual "
            f"{error_norm.max():.1e}; the clusters may depend on random_state.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return np.minimum(values, 1), vectors


def _dense_pairs(matrix: sparse.csr_array, n_vectors: int) -> tuple[Array, Array]:
    n_nodes = matrix.shape[0]
    check_memory(
        3 * 8.0 * n_nodes**2,
        what=f"The decomposition of a dense graph of {n_nodes} samples",
        remedy="lower n_clusters",
    )
    first = max(0, n_nodes - n_vectors)
    values, vectors = linalg.eigh(
        matrix.toarray(), subset_by_index=(first, n_nodes - 1)
    )
    return np.minimum(values[::-1], 1), vectors[:, ::-1]


def pivoted_qr_labels(embedding: Array, n_clusters: int) -> Indices:
    """Assign embedded samples to clusters by a pivoted QR factorisation.

    Needs no starts and no random numbers: the pivots are one typical sample a
    cluster, and the polar factor turns the axes towards them.

    Parameters
    ----------
    embedding : ndarray of shape (n_samples, n_vectors)
        At least `n_clusters` columns, of which the first `n_clusters` are used.
    n_clusters : int
        Number of clusters.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
        Between 0 and ``n_clusters - 1``.

    References
    ----------
    .. [1] Damle, Minden, Ying (2019). Simple, direct and efficient multi-way spectral
       clustering. Information and Inference 8(1).
    """
    vectors = embedding[:, :n_clusters]
    _, _, pivots = linalg.qr(vectors.T, pivoting=True, mode="economic")
    left, _, right = linalg.svd(vectors[pivots[:n_clusters]].T, full_matrices=False)
    labels: Indices = np.argmax(np.abs(vectors @ (left @ right)), axis=1)
    return labels
