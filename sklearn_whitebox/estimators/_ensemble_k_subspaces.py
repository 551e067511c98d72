"""Cluster samples by the votes of many short runs of K-subspaces."""

from numbers import Integral

import numpy as np
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
from sklearn_whitebox._threads import count_threads, serial_blas, serial_pools
from sklearn_whitebox._warn import warn
from sklearn_whitebox.estimators._base import WhiteboxEstimator, all_or_nothing
from sklearn_whitebox.estimators._cluster_labels import number_by_appearance
from sklearn_whitebox.estimators._subspace_labels import to_original
from sklearn_whitebox.solvers._copies import distinct_rows
from sklearn_whitebox.solvers._ensemble_subspaces import (
    co_association,
    ensemble_labels,
)
from sklearn_whitebox.solvers._graph_cut import cut_graph
from sklearn_whitebox.solvers._k_subspaces import choose_subspace_dims
from sklearn_whitebox.solvers._spectral import affinity_from_codes, graph_components
from sklearn_whitebox.solvers._subspace_distances import (
    nearest_subspaces,
    subspace_distances,
    unit_rows,
)
from sklearn_whitebox.solvers._subspaces import fit_subspaces, refine_by_coding_length


class EnsembleKSubspaces(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, WhiteboxEstimator
):
    r"""Cluster samples by the votes of many short runs of K-subspaces.

    One run of K-subspaces may end anywhere, but samples of one subspace end in the same
    cluster more often than others. Many runs of a few rounds are made, and the half of
    them that fit best vote on who belongs together. The most frequent partners of each
    sample make a graph, and spectral clustering of the graph finds the clusters.

    Read more in the :ref:`User Guide <ensemble_k_subspaces>`.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, K.
    subspace_dim : int or "auto", default="auto"
        Dimension of the subspaces; ``"auto"`` chooses as :class:`KSubspaces` does, and
        takes the mean over the clusters.
    n_estimators : int, default=200
        Runs.
    n_neighbors : int, default=None
        Partners of each sample that are kept; None for ``n_samples / (6 n_clusters)``,
        at least 3 and at most 20.
    max_iter : int, default=3
        Rounds of each run; 0 only assigns samples to the subspaces it starts from.
    init : {"k-subspaces++", "random"}, default="k-subspaces++"
        Start of each run: subspaces grown from the neighbours of drawn samples, or
        uniformly random ones as in [1]_.
    normalize : bool, default=True
        Whether to scale the samples to unit norm.
    shared_neighbors : int, default=1
        Rounds in which an edge of the graph is multiplied by the similarity of the
        neighbourhoods of its ends.
    n_init : int, default=20
        Starts of k-means in the spectral embedding.
    refine : bool, default=True
        Whether to move samples to the nearest subspace at the end, where the subspaces
        explain the data and the move shortens the coding length.
    n_jobs : int, default=None
        Threads over the runs, as in joblib. The result does not depend on it.
    random_state : int, RandomState instance or None, default=None
        Seeds the runs and k-means.
    verbose : int, default=0
        Log the progress of the runs.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,)
        Cluster of each sample, int32, numbered by first appearance.
    affinity_matrix_ : csr_array of shape (n_samples, n_samples)
        Symmetric weights of the graph of the distinct samples: the first of several
        copies has the edges.
    bases_ : list of ndarray of shape (subspace_dim, n_features)
        Orthonormal basis of each cluster.
    subspace_dims_ : ndarray of shape (`n_clusters_`,)
        Their dimensions.
    n_clusters_ : int
        Clusters found; fewer than `n_clusters` only if fewer samples are distinct.
    n_connected_components_ : int
        Connected components of the graph.
    objectives_ : ndarray of shape (n_estimators,)
        Sum of squared distances at the end of each run.
    n_iter_ : int
        Runs done.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit, if they were all strings.

    See Also
    --------
    KSubspaces : One run with exchanges, faster.
    SubspaceClusterer : By who can write whom.

    Notes
    -----
    B runs of T rounds cost O(B T n d Σ dim) time, the votes O(n² B) additions; memory
    is O(n (B + n_neighbors)), since votes are counted for a block of rows at a time.
    Equal and opposite samples are counted once and get one label.

    References
    ----------
    .. [1] Lipor, Hong, Tan, Balzano (2021). Subspace clustering using ensembles of
       K-subspaces. Information and Inference 10(1).

    Examples
    --------
    >>> from sklearn_whitebox import EnsembleKSubspaces
    >>> from sklearn_whitebox.datasets import make_union_of_subspaces
    >>> X, y = make_union_of_subspaces(
    ...     120, 10, n_subspaces=3, subspace_dim=2, noise=0.01, random_state=0
    ... )
    >>> clusterer = EnsembleKSubspaces(3, n_estimators=20, random_state=0).fit(X)
    >>> clusterer.subspace_dims_
    array([2, 2, 2])
    """

    _parameter_constraints: dict = {  # noqa: RUF012
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "subspace_dim": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "n_neighbors": [Interval(Integral, 1, None, closed="left"), None],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "init": [StrOptions({"k-subspaces++", "random"})],
        "normalize": ["boolean"],
        "shared_neighbors": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "refine": ["boolean"],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_clusters=8,
        *,
        subspace_dim="auto",
        n_estimators=200,
        n_neighbors=None,
        max_iter=3,
        init="k-subspaces++",
        normalize=True,
        shared_neighbors=1,
        n_init=20,
        refine=True,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_clusters = n_clusters
        self.subspace_dim = subspace_dim
        self.n_estimators = n_estimators
        self.n_neighbors = n_neighbors
        self.max_iter = max_iter
        self.init = init
        self.normalize = normalize
        self.shared_neighbors = shared_neighbors
        self.n_init = n_init
        self.refine = refine
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @all_or_nothing()
    def fit(self, X, y=None):
        """Let the runs vote and cut the graph of the votes.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.
        y : None
            Ignored, present for the contract.

        Returns
        -------
        self : EnsembleKSubspaces
            The fitted estimator.

        Raises
        ------
        ValueError
            If there are fewer samples than clusters, the dimension does not fit the
            data, or the work would not fit the memory budget.
        """
        X = validate_array(self, X, ensure_min_samples=2)
        self._check_sizes(X)
        seed = draw_seed(self.random_state)
        rows = unit_rows(X) if self.normalize else X / (np.abs(X).max() or 1)
        first, inverse, _ = distinct_rows(rows)
        distinct = np.ascontiguousarray(rows[first])
        n_clusters = min(self.n_clusters, len(distinct))
        dim = self._dim(distinct, n_clusters, seed)
        progress = Progress(self, self.n_estimators, X, verbose=self.verbose)
        votes, objectives = ensemble_labels(
            distinct,
            n_clusters,
            subspace_dim=dim,
            n_estimators=self.n_estimators,
            max_iter=self.max_iter,
            init=self.init,
            n_jobs=self.n_jobs,
            seed=seed,
            callback=progress,
        )
        progress.close()
        better = objectives <= np.median(objectives)
        shares = co_association(
            votes[:, better], self._count_neighbors(len(distinct)), n_jobs=self.n_jobs
        )
        affinity = affinity_from_codes(shares, shared_neighbors=self.shared_neighbors)
        components, isolated = graph_components(affinity)
        groups = [*components, *(np.array([i]) for i in isolated)]
        labels = self._cut(
            distinct, affinity, groups, n_clusters, dim, objectives.min(), seed
        )
        labels, n_found = number_by_appearance(labels[inverse])
        if n_found < self.n_clusters:
            warn(
                f"Only {n_found} of n_clusters={self.n_clusters} clusters were found: "
                "too few samples are distinct, or the members of the ensemble agree "
                "on fewer. Lower n_clusters, or raise n_estimators.",
                ConvergenceWarning,
            )
        bases = fit_subspaces(rows, labels, n_found, subspace_dim=dim)
        self.labels_ = labels
        self.affinity_matrix_ = to_original(
            affinity, first, inverse, len(rows), copy_rows=False
        )
        self.bases_ = bases
        self.subspace_dims_ = np.array([len(basis) for basis in bases])
        self.n_clusters_ = n_found
        self.n_connected_components_ = len(groups)
        self.objectives_ = objectives
        self.n_iter_ = len(objectives)
        self._n_features_out = n_found
        return self

    def predict(self, X):
        """Assign each sample to the nearest of the fitted subspaces.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        labels : ndarray or Tensor of shape (n_samples,)
            Clusters, int32.
        """
        check_is_fitted(self)
        original = X
        X = validate_array(self, X, reset=False)
        rows = unit_rows(X) if self.normalize else X
        labels = nearest_subspaces(rows, self.bases_)
        return restore(labels.astype(np.int32), like=original)

    def transform(self, X):
        """Measure the distance of each sample to each subspace.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        distances : ndarray or Tensor of shape (n_samples, `n_clusters_`)
            Norms of the residuals; with ``normalize=True``, sines of the angles.
        """
        check_is_fitted(self)
        original = X
        X = validate_array(self, X, reset=False)
        rows = unit_rows(X) if self.normalize else X
        distances = subspace_distances(rows, self.bases_)
        return restore(distances, like=original, estimator=self)

    def _check_sizes(self, X):
        n_samples, n_features = X.shape
        if n_samples < self.n_clusters:
            raise ValueError(
                f"n_samples={n_samples} should be >= n_clusters={self.n_clusters}; "
                "lower n_clusters."
            )
        if self.subspace_dim != "auto" and self.subspace_dim >= max(n_features, 2):
            raise ValueError(
                f"subspace_dim={self.subspace_dim} must be less than n_features="
                f"{n_features}: a subspace that is all of space fits every sample."
            )
        votes = 8.0 * n_samples * self.n_estimators
        blocks = 2048.0 * n_samples * 2 * count_threads(self.n_jobs)
        edges = 80.0 * n_samples * self._count_neighbors(n_samples)
        check_memory(
            votes + blocks + edges + 40.0 * n_samples * n_features,
            what=f"The matrix of votes on {n_samples} samples",
            remedy="lower n_estimators or n_neighbors, or fit a sample of the rows and "
            "predict the others",
        )

    def _count_neighbors(self, n_samples):
        if self.n_neighbors is not None:
            return max(1, min(self.n_neighbors, n_samples - 1))
        return int(np.clip(n_samples // (6 * self.n_clusters), 3, 20))

    def _dim(self, rows, n_clusters, seed):
        if self.subspace_dim != "auto":
            return self.subspace_dim
        dims = choose_subspace_dims(rows, n_clusters, n_jobs=self.n_jobs, seed=seed)
        return max(1, round(float(dims.mean())))

    def _cut(self, rows, affinity, groups, n_clusters, dim, objective, seed):
        if n_clusters == 1 or len(rows) < 2:
            return np.zeros(len(rows), np.int64)
        # Squared distances that the best run leaves, or rounding if it leaves none.
        energy = float(np.square(rows, dtype=np.float64).sum())
        distortion = max(objective, 0.01 * energy) / len(rows)
        work = 2.0 * len(rows) * n_clusters * (n_clusters + 3)

        def assign(embedding, n_parts):
            kmeans = KMeans(n_parts, n_init=self.n_init, random_state=seed)
            return kmeans.fit_predict(embedding)

        with serial_blas(), serial_pools(work):
            labels = cut_graph(
                rows,
                affinity,
                groups,
                n_clusters,
                assign=assign,
                distortion=distortion,
                seed=seed,
            )
            n_found = int(labels.max()) + 1
            missing = labels < 0
            if missing.any():
                bases = fit_subspaces(rows, labels, n_found, subspace_dim=dim)
                labels[missing] = nearest_subspaces(rows[missing], bases)
            if self.refine and n_found > 1:
                labels = refine_by_coding_length(
                    rows, labels, n_found, distortion=distortion, subspace_dim=dim
                )
        return labels
