"""Cluster samples by the subspace they are nearest to."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox._array import as_numpy, check_memory, restore, validate_array
from sklearn_whitebox._compat import Interval, StrOptions, _check_sample_weight
from sklearn_whitebox._progress import Progress
from sklearn_whitebox._random import draw_seed
from sklearn_whitebox._threads import count_threads
from sklearn_whitebox._warn import warn
from sklearn_whitebox.estimators._base import WhiteboxEstimator, all_or_nothing
from sklearn_whitebox.solvers._k_subspaces import k_subspaces
from sklearn_whitebox.solvers._subspace_distances import (
    nearest_subspaces,
    subspace_distances,
    unit_rows,
)


class KSubspaces(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, WhiteboxEstimator
):
    r"""Cluster samples by the subspace they are nearest to.

    What k-means does with points as centres, K-subspaces does with subspaces: samples
    go to the nearest subspace, each subspace to the principal directions of its
    samples, in turn, until nothing changes. Clusters may cross at the origin. Plain
    alternation mostly ends in a poor local minimum; here subspaces start from the
    neighbourhoods of samples, and those that are missed least are exchanged for new
    ones where samples are far from all.

    Read more in the :ref:`User Guide <k_subspaces>`.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, K.
    subspace_dim : int, list of int or "auto", default="auto"
        Dimension of all subspaces, or of each in any order; at least 1, or 0 if they
        are affine: then they are points, and the method is k-means. ``"auto"`` takes
        those that tell the clusters apart best, see Notes.
    affine : bool, default=False
        Whether subspaces may miss the origin.
    normalize : bool, default=False
        Whether to scale the samples to unit norm first, so that bright and dark ones
        count alike.
    init : {"k-subspaces++", "random"} or list of ndarray, default="k-subspaces++"
        Where to start: subspaces grown from the neighbours of samples that are far from
        the earlier ones, uniformly random ones, or bases of shape (dim, n_features),
        whose dimensions then replace `subspace_dim`.
    n_init : int, default=4
        Starts, of which the best is kept; one if bases are given.
    n_swaps : int, default=10
        Exchanges of a subspace tried in each start; 0 for plain alternation.
    max_iter : int, default=100
        Most rounds of assigning and fitting.
    tol : float, default=1e-6
        Relative decrease of the objective at which rounds end.
    n_jobs : int, default=None
        Threads over the starts, as in joblib. The result does not depend on it.
    random_state : int, RandomState instance or None, default=None
        Seeds the starts and exchanges.
    verbose : int, default=0
        Log the starts and rounds.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,)
        Cluster of each sample, int32; clusters are numbered by falling weight.
    bases_ : list of ndarray of shape (subspace_dim, n_features)
        Orthonormal basis of each subspace, by falling energy.
    offsets_ : ndarray of shape (`n_clusters_`, n_features)
        Mean of each cluster if `affine`, else zero.
    subspace_dims_ : ndarray of shape (`n_clusters_`,)
        Dimensions of the subspaces.
    n_clusters_ : int
        Clusters found; fewer than `n_clusters` only if fewer subspaces hold all
        samples.
    inertia_ : float
        Sum of the squared distances to the nearest subspaces, times the weights.
    objective_curve_ : list of float
        The same after each round of the best start; it never increases.
    n_iter_ : int
        Number of these rounds.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit, if they were all strings.

    See Also
    --------
    SubspaceClusterer : By who can write whom; needs no dimension and more time.
    EnsembleKSubspaces : By the votes of many short runs.

    Notes
    -----
    A round costs O(n d Σ dim) time for n samples of d features, and the fit O(n K)
    memory beyond a copy of the data. Beyond 20,000 samples, the starts use a sample of
    them and only the best sees all.

    Weights act as repetition: a sample of weight 2 equals two samples. Equal samples
    are merged and the rest ordered by their values, so that the order of the samples
    does not matter.

    ``subspace_dim="auto"`` compares fits of growing dimension by their margin, the
    squared distance that would be added if each sample went to its second nearest
    subspace: too small a dimension misses the own samples, too large a one none. Of
    the dimensions that come within a tenth of the largest margin, it takes the one with
    the shortest code for data, labels and bases, and then moves single dimensions
    while that code gets shorter. No dimension exceeds half the mean number of samples
    of a cluster.

    References
    ----------
    .. [1] Bradley, Mangasarian (2000). k-plane clustering. Journal of Global
       Optimization 16.
    .. [2] Tseng (2000). Nearest q-flat to m points. Journal of Optimization Theory and
       Applications 105(1).
    .. [3] Park, Caramanis, Sanghavi (2014). Greedy subspace clustering. NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_whitebox import KSubspaces
    >>> rng = np.random.default_rng(0)
    >>> line = rng.normal(size=(20, 1)) * [1.0, 1.0, 0.0]
    >>> plane = rng.normal(size=(40, 2)) @ [[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]]
    >>> X = np.vstack([line, plane])
    >>> clusterer = KSubspaces(n_clusters=2, random_state=0).fit(X)
    >>> clusterer.subspace_dims_
    array([2, 1])
    >>> clusterer.predict([[3.0, 3.0, 0.0], [1.0, -1.0, 5.0]])
    array([1, 0], dtype=int32)
    """

    _parameter_constraints: dict = {  # noqa: RUF012
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "subspace_dim": [
            Interval(Integral, 0, None, closed="left"),
            "array-like",
            StrOptions({"auto"}),
        ],
        "affine": ["boolean"],
        "normalize": ["boolean"],
        "init": [StrOptions({"k-subspaces++", "random"}), "array-like"],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "n_swaps": [Interval(Integral, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_clusters=8,
        *,
        subspace_dim="auto",
        affine=False,
        normalize=False,
        init="k-subspaces++",
        n_init=4,
        n_swaps=10,
        max_iter=100,
        tol=1e-6,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_clusters = n_clusters
        self.subspace_dim = subspace_dim
        self.affine = affine
        self.normalize = normalize
        self.init = init
        self.n_init = n_init
        self.n_swaps = n_swaps
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @all_or_nothing()
    def fit(self, X, y=None, sample_weight=None):
        """Find the subspaces and the samples nearest to each.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.
        y : None
            Ignored, present for the contract.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each sample in the sum of squared distances; None for one each.

        Returns
        -------
        self : KSubspaces
            The fitted estimator.

        Raises
        ------
        ValueError
            If there are fewer samples than clusters, a dimension or basis does not fit
            the data, or the work would not fit the memory budget.
        """
        X = validate_array(self, X)
        weights = _checked_weights(X, sample_weight)
        init = self._checked_init(X)
        self._check_sizes(X, weights)
        rows = unit_rows(X) if self.normalize else X
        n_starts = self.n_init + 1 if isinstance(init, str) else 1
        progress = Progress(self, n_starts + self.max_iter, X, verbose=self.verbose)
        result = k_subspaces(
            rows,
            self.n_clusters,
            subspace_dim=self._checked_dims(X.shape[1]),
            affine=self.affine,
            init=init,
            n_init=self.n_init,
            n_swaps=self.n_swaps,
            max_iter=self.max_iter,
            tol=self.tol,
            sample_weight=weights,
            n_jobs=self.n_jobs,
            seed=draw_seed(self.random_state),
            callback=progress,
        )
        progress.close()
        bases, offsets = result.solution["bases"], result.solution["offsets"]
        self._report(len(bases), result)
        labels = result.solution["labels"]
        left_out = np.flatnonzero(labels < 0)
        labels[left_out] = nearest_subspaces(rows[left_out], bases, offsets)
        if offsets is None:
            offsets = np.zeros((len(bases), X.shape[1]), X.dtype)
        self.labels_ = labels.astype(np.int32)
        self.bases_ = bases
        self.offsets_ = offsets
        self.subspace_dims_ = np.array([len(basis) for basis in bases])
        self.n_clusters_ = len(bases)
        self.inertia_ = result.solution["inertia"]
        self.objective_curve_ = result.objective
        self.n_iter_ = result.n_iter
        self._n_features_out = len(bases)
        return self

    def predict(self, X):
        """Assign each sample to the nearest subspace.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        labels : ndarray or Tensor of shape (n_samples,)
            Clusters, int32; the larger of those equally near.
        """
        check_is_fitted(self)
        original = X
        rows = self._rows(validate_array(self, X, reset=False))
        labels = nearest_subspaces(rows, self.bases_, self._offsets())
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
            Norms of the residuals; with ``normalize=True``, of the unit samples.
        """
        check_is_fitted(self)
        original = X
        rows = self._rows(validate_array(self, X, reset=False))
        distances = subspace_distances(rows, self.bases_, self._offsets())
        return restore(distances, like=original, estimator=self)

    def score(self, X, y=None, sample_weight=None):
        """Give the objective with a minus: larger is better.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.
        y : None
            Ignored, present for the contract.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each sample.

        Returns
        -------
        score : float
            Minus the sum of squared distances to the nearest subspaces.
        """
        check_is_fitted(self)
        X = validate_array(self, X, reset=False)
        weights = _checked_weights(X, sample_weight)
        rows = self._rows(X)
        least = subspace_distances(rows, self.bases_, self._offsets()).min(axis=1)
        squares = np.square(least.astype(np.float64))
        return -float(squares.sum() if weights is None else weights @ squares)

    def _rows(self, X):
        return unit_rows(X) if self.normalize else X

    def _offsets(self):
        return self.offsets_ if self.offsets_.any() else None

    def _checked_dims(self, n_features):
        if isinstance(self.subspace_dim, str):
            return self.subspace_dim
        dims = np.atleast_1d(np.asarray(self.subspace_dim))
        least = 0 if self.affine else 1
        if dims.dtype.kind not in "iu" or dims.ndim != 1 or dims.min(initial=1) < least:
            raise ValueError(
                f"subspace_dim={self.subspace_dim!r} must be 'auto', or integers of at "
                f"least {least} with affine={self.affine}."
            )
        if len(dims) not in (1, self.n_clusters):
            raise ValueError(
                f"subspace_dim has {len(dims)} entries, but n_clusters="
                f"{self.n_clusters}; give one dimension, or one for each cluster."
            )
        if dims.max() >= n_features:
            raise ValueError(
                f"subspace_dim={int(dims.max())} must be less than n_features="
                f"{n_features}: a subspace that is all of space fits every sample."
            )
        return dims

    def _checked_init(self, X):
        if isinstance(self.init, str):
            return self.init
        if len(self.init) != self.n_clusters:
            raise ValueError(
                f"init has {len(self.init)} bases, but n_clusters={self.n_clusters}; "
                "give one basis for each cluster."
            )
        n_features = X.shape[1]
        bases = [np.asarray(as_numpy(basis), X.dtype) for basis in self.init]
        for k, basis in enumerate(bases):
            is_basis = basis.ndim == 2 and basis.shape[1] == n_features
            if not is_basis or not 1 <= len(basis) < max(n_features, 2):
                raise ValueError(
                    f"init[{k}] has shape {basis.shape}; a basis has shape (dim, "
                    f"n_features={n_features}) with dim from 1 to n_features - 1."
                )
            if not np.isfinite(basis).all() or np.linalg.matrix_rank(basis) < len(
                basis
            ):
                raise ValueError(f"The rows of init[{k}] are not finite or dependent.")
        return bases

    def _check_sizes(self, X, weights):
        n_samples, n_features = X.shape
        n_used = n_samples if weights is None else np.count_nonzero(weights)
        if n_used < self.n_clusters:
            raise ValueError(
                f"n_samples={n_used} should be >= n_clusters={self.n_clusters}; "
                "lower n_clusters."
            )
        tried = min(n_samples, 20_000) * 3.0 * n_features
        n_threads = count_threads(self.n_jobs)
        check_memory(
            X.itemsize * (3.0 * n_samples * n_features + n_threads * tried)
            + 64.0 * n_samples,
            what=f"The copy of {n_samples} samples of {n_features} features",
            remedy="fit a sample of the rows and predict the others",
        )

    def _report(self, n_found, result):
        if n_found < self.n_clusters:
            warn(
                f"Only {n_found} of n_clusters={self.n_clusters} clusters were found: "
                "fewer subspaces hold all samples. Lower n_clusters or subspace_dim.",
                ConvergenceWarning,
            )
        elif not result.converged:
            warn(
                f"The rounds did not converge in max_iter={self.max_iter}; raise "
                "max_iter or tol.",
                ConvergenceWarning,
            )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _checked_weights(X, sample_weight):
    if sample_weight is None:
        return None
    return _check_sample_weight(
        as_numpy(sample_weight), X, dtype=np.float64, ensure_non_negative=True
    )
