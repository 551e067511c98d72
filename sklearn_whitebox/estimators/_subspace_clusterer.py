"""Cluster samples that lie near a union of subspaces."""

import logging
import warnings
from numbers import Integral, Real

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox._array import check_memory, restore, validate_array
from sklearn_whitebox._compat import Interval, StrOptions
from sklearn_whitebox._progress import Progress
from sklearn_whitebox._random import draw_seed
from sklearn_whitebox._threads import serial_blas, serial_pools
from sklearn_whitebox.estimators._base import WhiteboxEstimator, all_or_nothing
from sklearn_whitebox.solvers._copies import distinct_rows
from sklearn_whitebox.solvers._graph_cut import cut_graph, noise_level
from sklearn_whitebox.solvers._self_expression import block_bytes, self_express
from sklearn_whitebox.solvers._spectral import (
    affinity_from_codes,
    graph_components,
    pivoted_qr_labels,
)
from sklearn_whitebox.solvers._subspaces import (
    fit_subspaces,
    refine_by_coding_length,
    subspace_residuals,
)

logger = logging.getLogger("sklearn_whitebox")


class SubspaceClusterer(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, WhiteboxEstimator
):
    r"""Cluster samples by the subspaces they lie near.

    Each sample is written as a sparse combination of the other samples. A sample of a
    union of subspaces is written most cheaply by samples of its own subspace, so the
    graph of these codes falls apart along the subspaces, and spectral clustering of
    the graph finds them. Clusters may cross at the origin, where no distance can tell
    them apart.

    Read more in the :ref:`User Guide <subspace_clustering>`.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, K.
    method : {"elastic_net", "omp"}, default="elastic_net"
        How samples are coded: by the elastic net (EnSC, and SSC at ``l1_ratio=1``), or
        by orthogonal matching pursuit (SSC-OMP), which bounds the number of neighbours,
        and is weaker where subspaces are close or data are noisy.
    gamma : float, default=10.0
        Weight of the data against the penalty of the elastic net, in units of the least
        weight with a non-zero code. Larger than 1; with too much of it, codes grow long
        and fit the noise.
    l1_ratio : float, default=0.9
        Share of the ℓ1 norm in the penalty of the elastic net, in (0, 1]. Less ℓ1
        gives more neighbours and a better connected graph.
    n_nonzero_coefs : int, default=5
        Most samples in one pursuit, for ``method="omp"``; at most the dimension of the
        subspaces, less for noisy data.
    n_pursuits : int, default=3
        Pursuits of each sample, for ``method="omp"``; each uses samples that the
        earlier ones have not used, and the codes are averaged. 1 is SSC-OMP.
    tol : float, default=1e-6
        Relative residual at which the pursuit stops, or largest relative violation of
        the optimality conditions of the elastic net.
    max_nonzero : int, default=None
        Keep only the so many largest coefficients of a sample; None keeps all.
    shared_neighbors : int, default=1
        Rounds in which an edge of the affinity graph is multiplied by the similarity
        of the neighbourhoods of its ends. It pays on images and other data that fill
        their subspaces unevenly; use 0 for points spread evenly over close subspaces.
    normalize : bool, default=True
        Whether to scale the samples to unit norm.
    affine : bool or "auto", default="auto"
        Whether subspaces may miss the origin. The data are then centred and get one
        more coordinate of constant value. ``"auto"`` does so if there are fewer
        features than clusters, or fewer than three: linear subspaces then cannot be
        independent.
    affine_scale : float, default=1.0
        The constant, in units of the median norm of the centred samples.
    assign_labels : {"kmeans", "cluster_qr"}, default="kmeans"
        How the spectral embedding is cut: by k-means, or by a pivoted QR factorisation
        that needs no starts.
    n_init : int, default=20
        Starts of k-means.
    refine : bool, default=True
        Whether to move samples from the clusters of the graph to the nearest
        subspaces, where the subspaces explain the data to the level of the noise and
        the move shortens the coding length.
    on_disconnected : {"merge", "raise"}, default="merge"
        What to do if the graph has more connected components than `n_clusters`: merge
        them by their coding length, with a warning, or raise an error.
    subspace_dim : int or "auto", default="auto"
        Dimension of the fitted subspaces; ``"auto"`` keeps 95 % of the squared norm of
        each cluster.
    n_jobs : int, default=None
        Threads for the codes, as in joblib. The result does not depend on it.
    random_state : int, RandomState instance or None, default=None
        Seeds the starts of k-means and of the eigensolver.
    verbose : int, default=0
        Log the stages of the fit.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,)
        Cluster of each sample, int32, numbered by first appearance.
    representation_ : csr_array of shape (n_samples, n_samples)
        Codes: row i writes sample i by the others. The diagonal is zero.
    affinity_matrix_ : csr_array of shape (n_samples, n_samples)
        Symmetric weights of the graph.
    bases_ : list of ndarray of shape (subspace_dim, n_features)
        Orthonormal basis of each cluster; with one more column if the subspaces are
        affine.
    subspace_dims_ : ndarray of shape (n_clusters,)
        Their dimensions.
    n_clusters_ : int
        Clusters found; fewer than `n_clusters` only if fewer samples are distinct.
    n_connected_components_ : int
        Connected components of the graph, isolated samples included.
    isolated_ : ndarray
        Indices of the samples without an edge, labelled by the nearest subspace.
    affine_ : bool
        Whether the subspaces are affine.
    offset_ : ndarray of shape (n_features,)
        Mean that was subtracted; zero if the subspaces are linear.
    affine_constant_ : float
        Value of the constant coordinate; zero if the subspaces are linear.
    n_iter_ : int
        Pursuits, or most changes of the support of a sample's code.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit, if they were all strings.

    Notes
    -----
    Costs O(n² d) time for n samples of d features, a few times over, and O(n) memory:
    the n × n matrix of correlations is visited in blocks. Equal and opposite samples
    are coded once and get one label. A new sample belongs to the nearest of the fitted
    subspaces; on the training samples that rule can differ from the spectral labels.

    References
    ----------
    .. [1] Elhamifar, Vidal (2013). Sparse subspace clustering: algorithm, theory, and
       applications. IEEE TPAMI 35(11).
    .. [2] You, Li, Robinson, Vidal (2016). Oracle based active set algorithm for
       scalable elastic net subspace clustering. CVPR.
    .. [3] You, Robinson, Vidal (2016). Scalable sparse subspace clustering by
       orthogonal matching pursuit. CVPR.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_whitebox import SubspaceClusterer
    >>> rng = np.random.default_rng(0)
    >>> line = rng.normal(size=(20, 1)) * [1.0, 1.0, 0.0]
    >>> plane = rng.normal(size=(40, 2)) @ [[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]]
    >>> X = np.vstack([line, plane])
    >>> clusterer = SubspaceClusterer(n_clusters=2, random_state=0).fit(X)
    >>> clusterer.subspace_dims_
    array([1, 2])
    >>> clusterer.predict([[3.0, 3.0, 0.0], [1.0, -1.0, 5.0]])
    array([0, 1], dtype=int32)
    """

    _parameter_constraints: dict = {  # noqa: RUF012
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "method": [StrOptions({"elastic_net", "omp"})],
        "gamma": [Interval(Real, 1, None, closed="neither")],
        "l1_ratio": [Interval(Real, 0, 1, closed="right")],
        "n_nonzero_coefs": [Interval(Integral, 1, None, closed="left")],
        "n_pursuits": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_nonzero": [Interval(Integral, 1, None, closed="left"), None],
        "shared_neighbors": [Interval(Integral, 0, None, closed="left")],
        "normalize": ["boolean"],
        "affine": ["boolean", StrOptions({"auto"})],
        "affine_scale": [Interval(Real, 0, None, closed="neither")],
        "assign_labels": [StrOptions({"kmeans", "cluster_qr"})],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "refine": ["boolean"],
        "on_disconnected": [StrOptions({"merge", "raise"})],
        "subspace_dim": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_clusters=8,
        *,
        method="elastic_net",
        gamma=10.0,
        l1_ratio=0.9,
        n_nonzero_coefs=5,
        n_pursuits=3,
        tol=1e-6,
        max_nonzero=None,
        shared_neighbors=1,
        normalize=True,
        affine="auto",
        affine_scale=1.0,
        assign_labels="kmeans",
        n_init=20,
        refine=True,
        on_disconnected="merge",
        subspace_dim="auto",
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_clusters = n_clusters
        self.method = method
        self.gamma = gamma
        self.l1_ratio = l1_ratio
        self.n_nonzero_coefs = n_nonzero_coefs
        self.n_pursuits = n_pursuits
        self.tol = tol
        self.max_nonzero = max_nonzero
        self.shared_neighbors = shared_neighbors
        self.normalize = normalize
        self.affine = affine
        self.affine_scale = affine_scale
        self.assign_labels = assign_labels
        self.n_init = n_init
        self.refine = refine
        self.on_disconnected = on_disconnected
        self.subspace_dim = subspace_dim
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @all_or_nothing()
    def fit(self, X, y=None):
        """Find the clusters of the samples and a subspace for each.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.
        y : None
            Ignored, present for the contract.

        Returns
        -------
        self : SubspaceClusterer
            The fitted estimator.

        Raises
        ------
        ValueError
            If there are fewer samples than clusters, the work would not fit the memory
            budget, or the graph falls apart and ``on_disconnected="raise"``.
        """
        X = validate_array(self, X, ensure_min_samples=2)
        self._check_sizes(X)
        affine, offset, constant = self._affine_frame(X)
        rows = _prepare(X, affine, offset, constant, self.normalize)
        if not self.normalize:
            # Codes and subspaces do not depend on the unit; squares may underflow.
            rows = rows / (np.abs(rows).max() or 1)
        progress = Progress(self, 4, X)
        codes, n_iter = self._code(rows)
        progress(0)
        affinity = affinity_from_codes(codes, shared_neighbors=self.shared_neighbors)
        components, isolated = graph_components(affinity)
        progress(1)
        self._log("graph of %d edges in %d parts", affinity.nnz // 2, len(components))
        # Steps of k-means, the only ones with OpenMP inside.
        work = 2.0 * len(rows) * self.n_clusters * (self.n_clusters + 3)
        with serial_blas(), serial_pools(work):
            labels = self._cut(rows, codes, affinity, components, isolated)
            labels = self._label_the_rest(rows, labels)
            labels, n_found = _number_by_appearance(labels)
            progress(2)
            if n_found < self.n_clusters:
                self._report_lack(n_found)
            if self.refine and n_found > 1:
                labels = self._refine(rows, codes, labels, n_found)
            bases = fit_subspaces(
                rows, labels, n_found, subspace_dim=self._given_subspace_dim()
            )
        progress(3)
        progress.close()
        self.affine_ = affine
        self.offset_ = offset
        self.affine_constant_ = constant
        self.labels_ = labels
        self.representation_ = codes
        self.affinity_matrix_ = affinity
        self.bases_ = bases
        self.subspace_dims_ = np.array([len(basis) for basis in bases])
        self.n_clusters_ = n_found
        self.n_connected_components_ = len(components) + len(isolated)
        self.isolated_ = isolated
        self.n_iter_ = n_iter
        self._largest_cluster = int(np.argmax(np.bincount(labels)))
        self._n_features_out = n_found
        return self

    def transform(self, X):
        """Measure the distance of each sample to each subspace.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        distances : ndarray or Tensor of shape (n_samples, n_clusters)
            Norms of the residuals of the samples, prepared as in `fit`: with
            ``normalize=True``, sines of their angles to the subspaces.
        """
        check_is_fitted(self)
        original = X
        X = validate_array(self, X, reset=False)
        return restore(self._distances(X)[0], like=original, estimator=self)

    def predict(self, X):
        """Assign each sample to the nearest of the fitted subspaces.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        labels : ndarray or Tensor of shape (n_samples,)
            Clusters, int32. Samples of norm zero, on which all subspaces agree, go to
            the largest cluster.
        """
        check_is_fitted(self)
        original = X
        X = validate_array(self, X, reset=False)
        distances, is_zero = self._distances(X)
        labels = np.argmin(distances, axis=1)
        labels[is_zero] = self._largest_cluster
        return restore(labels.astype(np.int32), like=original)

    def _distances(self, X):
        rows = _prepare(
            X, self.affine_, self.offset_, self.affine_constant_, self.normalize
        )
        bases = [basis.astype(rows.dtype, copy=False) for basis in self.bases_]
        # Distances grow with the rows; squares of very small ones would underflow.
        peaks = np.abs(rows).max(axis=1, keepdims=True)
        is_zero = peaks[:, 0] == 0
        peaks[is_zero] = 1
        with serial_blas():
            return peaks * subspace_residuals(rows / peaks, bases), is_zero

    def _check_sizes(self, X):
        n_samples, n_features = X.shape
        if n_samples < self.n_clusters:
            raise ValueError(
                f"n_samples={n_samples} should be >= n_clusters={self.n_clusters}; "
                "lower n_clusters."
            )
        width = 2 * n_features
        blocks = block_bytes(n_samples, X.itemsize) * effective_n_jobs(self.n_jobs)
        if self.method == "omp":
            width = self.n_nonzero_coefs * self.n_pursuits
            blocks = 0
        width = min(width, n_samples, self.max_nonzero or width)
        # The affinity holds each edge twice and is copied a few times on the way.
        edges = 80.0 * n_samples * width
        embedding = 32.0 * n_samples * (n_features + 2 * self.n_clusters + 6)
        check_memory(
            blocks + edges + embedding,
            what=f"The graph of {n_samples} samples",
            remedy="lower max_nonzero or n_nonzero_coefs, or fit a sample of the rows "
            "and predict the others",
        )

    def _affine_frame(self, X):
        n_features = X.shape[1]
        affine = self.affine
        if affine == "auto":
            affine = n_features < max(self.n_clusters, 3)
        if not affine:
            return False, np.zeros(n_features, X.dtype), 0.0
        offset = X.mean(axis=0, dtype=np.float64).astype(X.dtype)
        centered = X - offset
        peak = np.abs(centered).max() or 1
        typical = float(peak * np.median(np.linalg.norm(centered / peak, axis=1)))
        return True, offset, self.affine_scale * typical if typical > 0 else 1.0

    def _code(self, rows):
        result = self_express(
            rows,
            method=self.method,
            gamma=self.gamma,
            l1_ratio=self.l1_ratio,
            n_nonzero_coefs=self.n_nonzero_coefs,
            n_pursuits=self.n_pursuits,
            tol=self.tol,
            max_nonzero=self.max_nonzero,
            n_jobs=self.n_jobs,
        )
        self._log("codes of %.1f samples each", result.solution.nnz / len(rows))
        if not result.converged:
            warnings.warn(
                "The code of a sample violates an optimality condition by "
                f"{result.gap:.1e}, more than tol={self.tol}; lower gamma, or raise "
                "tol.",
                ConvergenceWarning,
                stacklevel=5,
            )
        return result.solution, result.n_iter

    def _cut(self, rows, codes, affinity, components, isolated):
        """Label the samples of the graph; -1 for those that have to follow later."""
        if self.n_clusters == 1:
            return np.zeros(len(rows), np.int64)
        groups = list(components)
        if sum(map(len, groups)) < self.n_clusters:
            first, _, _ = distinct_rows(rows)
            alone = isolated[rows[isolated].any(axis=1) & np.isin(isolated, first)]
            groups += [np.array([i]) for i in alone]
        if len(groups) > self.n_clusters:
            self._report_disconnection([len(group) for group in groups])
        return cut_graph(
            rows,
            affinity,
            groups,
            self.n_clusters,
            assign=self._assign,
            distortion=noise_level(rows, codes),
            seed=draw_seed(self.random_state),
        )

    def _report_disconnection(self, sizes):
        message = (
            f"The affinity graph has {len(sizes)} connected components, more than "
            f"n_clusters={self.n_clusters}; their sizes are {sizes[:5]}"
            f"{' ...' if len(sizes) > 5 else ''}."
        )
        if self.on_disconnected == "raise":
            raise ValueError(
                f"{message} Lower l1_ratio or raise n_nonzero_coefs to connect it, "
                "raise n_clusters, or set on_disconnected='merge'."
            )
        warnings.warn(
            f"{message} They are merged by their coding length; a lower l1_ratio or a "
            "larger n_nonzero_coefs connects the graph better.",
            UserWarning,
            stacklevel=6,
        )

    def _report_lack(self, n_found):
        warnings.warn(
            f"Only {n_found} of n_clusters={self.n_clusters} clusters were found: too "
            "few samples are distinct up to their scale. Lower n_clusters, or set "
            "affine=True if the scale matters.",
            ConvergenceWarning,
            stacklevel=5,
        )

    def _assign(self, embedding, n_clusters):
        if self.assign_labels == "cluster_qr":
            return pivoted_qr_labels(embedding, n_clusters)
        seed = draw_seed(self.random_state)
        kmeans = KMeans(n_clusters, n_init=self.n_init, random_state=seed)
        return kmeans.fit_predict(embedding)

    def _refine(self, rows, codes, labels, n_clusters):
        refined = refine_by_coding_length(
            rows,
            labels,
            n_clusters,
            distortion=noise_level(rows, codes),
            subspace_dim=self._given_subspace_dim(),
        )
        self._log("refinement moved %d samples", np.sum(refined != labels))
        refined = refined.copy()
        refined[~rows.any(axis=1)] = np.argmax(np.bincount(refined))
        return _number_by_appearance(refined)[0]

    def _label_the_rest(self, rows, labels):
        labels = labels.copy()
        missing = labels < 0
        if missing.all():
            labels[:] = 0
        elif missing.any():
            n_found = labels.max() + 1
            bases = fit_subspaces(
                rows, labels, n_found, subspace_dim=self._given_subspace_dim()
            )
            largest = np.argmax(np.bincount(labels[~missing]))
            labels[missing] = np.argmin(subspace_residuals(rows[missing], bases), 1)
            labels[~rows.any(axis=1)] = largest
        # The embedding of a copy differs from its original's by what points at it.
        first, inverse, _ = distinct_rows(rows)
        return labels[first][inverse]

    def _given_subspace_dim(self):
        return None if self.subspace_dim == "auto" else self.subspace_dim

    def _log(self, message, *values):
        if self.verbose:
            logger.info("SubspaceClusterer: " + message, *values)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _prepare(X, affine, offset, constant, normalize):
    """Centre, append the constant coordinate and scale to unit norm, as asked."""
    if affine:
        column = np.full((len(X), 1), constant, X.dtype)
        X = np.hstack([X - offset.astype(X.dtype), column])
    if not normalize:
        return np.ascontiguousarray(X)
    # Scaled first by the largest entry, so that tiny numbers do not underflow.
    peaks = np.abs(X).max(axis=1, keepdims=True)
    X = X / np.where(peaks > 0, peaks, 1)
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    return np.ascontiguousarray(X / np.where(norms > 0, norms, 1))


def _number_by_appearance(labels):
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return rank[inverse].astype(np.int32), len(first)
