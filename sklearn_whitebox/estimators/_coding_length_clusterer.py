"""Cluster samples, and count the clusters, by lossy compression."""

import logging
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox._array import as_numpy, restore, validate_array
from sklearn_whitebox._compat import Interval, StrOptions
from sklearn_whitebox._progress import Progress
from sklearn_whitebox._threads import serial_blas
from sklearn_whitebox._warn import warn
from sklearn_whitebox.estimators._base import WhiteboxEstimator, all_or_nothing
from sklearn_whitebox.solvers._agglomerative_coding import (
    agglomerate_by_coding_length,
)
from sklearn_whitebox.solvers._distortion_path import FRAGMENT_SIZES, distortion_path
from sklearn_whitebox.solvers._graph_coding import (
    agglomerate_along_graph,
    cheapest_partners,
)
from sklearn_whitebox.solvers._incremental_coding import (
    ClassCoder,
    class_moments,
    principal_basis,
)

logger = logging.getLogger("sklearn_whitebox")


class CodingLengthClusterer(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, WhiteboxEstimator
):
    r"""Cluster samples as they are coded in the fewest nats, and count the clusters.

    Clusters are coded as Gaussians up to an allowed distortion, their subspaces and the
    labels included. Starting from single samples, the two clusters whose union shortens
    the code most are joined, until no union does. The clusters may cross, differ in
    dimension and size, and need not be counted beforehand; outliers stay alone.

    Read more in the :ref:`User Guide <coding_length_clustering>`.

    Parameters
    ----------
    n_clusters : int, default=None
        Number of clusters; None stops where no union shortens the code. With
        `min_cluster_size`, smaller clusters are not counted.
    distortion : float or "auto", default="auto"
        Allowed mean squared error per sample, ε² in [1]_, in squared units of `X`; for
        noise of standard deviation σ, dσ² or less. ``"auto"`` takes the one at which
        code and residual together are shortest.
    code_mean : bool or "auto", default="auto"
        Whether clusters are coded around their means, for clusters away from the
        origin; otherwise they are subspaces through the origin. ``"auto"`` takes what
        makes code and residual shorter.
    basis_cost : bool, default=True
        Whether subspaces are paid for. Without, the data are cut into very many
        clusters.
    connectivity : int, array-like, sparse matrix or callable, default=None
        None compares all pairs of clusters. An int compares each sample with so many
        others, those that are coded with it most cheaply, and all pairs of what is left
        at the end: for many samples. A graph of shape (n_samples, n_samples), or a
        callable that makes one of `X`, allows unions of neighbours only.
    fragment_size : int or "auto", default="auto"
        Average size of the fragments to start from, which are made from single samples
        by their rates alone, at a coarse distortion. 1 starts from single samples, as
        in [1]_; fragments are more robust to noise. ``"auto"`` takes of 1, 6 and 15
        what makes code and residual shortest.
    min_cluster_size : int, default=1
        Samples of smaller clusters are outliers, labelled -1.
    compute_full_tree : bool, default=True
        Whether to go on joining down to a single cluster, for dendrograms and
        `coding_length_curve_`.
    n_jobs : int, default=None
        Threads for ``distortion="auto"``, as in joblib. The result does not depend on
        it.
    verbose : int, default=0
        Log the stages of the fit.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,)
        Cluster of each sample, int32, numbered by first appearance; -1 for outliers.
    n_clusters_ : int
        Clusters found, outliers left out.
    children_ : ndarray of shape (n_merges, 2)
        Nodes joined at each step, as in
        :class:`~sklearn.cluster.AgglomerativeClustering`: below n_samples they are
        samples, and step i makes node n_samples + i.
    distances_ : ndarray of shape (n_merges,)
        Heights of the steps for dendrograms, non-negative and rising towards the root:
        the highest of `merge_costs_` per sample of the smaller side at and below a
        step, less the least of all.
    distance_threshold_ : float
        Height at which a step changes the coding length by nothing; the clusters found
        for ``n_clusters=None`` are those of the tree cut there.
    merge_costs_ : ndarray of shape (n_merges,)
        Change of the coding length by each step, in nats.
    coding_length_ : float
        Coding length of the clusters, in nats.
    coding_length_curve_ : ndarray of shape (n_samples,)
        Coding length of the tree with 1, 2, ... clusters; nan where not computed.
    distortion_ : float
        Distortion that was used.
    code_mean_ : bool
        Whether means are coded.
    fragment_size_ : int
        Average size of the fragments at the start.
    distortion_path_ : dict of str to ndarray
        For ``distortion="auto"``: ``"distortion"`` values tried, ``"n_clusters"``
        found, ``"description_length"`` in nats, and the best ``"fragment_size"``;
        otherwise empty.
    bases_ : list of ndarray of shape (subspace_dim, n_features)
        Orthonormal basis of each cluster, around its mean if `code_mean_`.
    subspace_dims_ : ndarray of shape (n_clusters,)
        Their dimensions, by the Bayesian information criterion.
    means_ : ndarray of shape (n_clusters, n_features)
        Means of the clusters; zero unless `code_mean_`.
    factors_ : list of ndarray of shape (rank, n_features)
        Orthogonal rows whose products sum to the scatter of each cluster.
    cluster_sizes_ : ndarray of shape (n_clusters,)
        Samples in each cluster.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit, if they were all strings.

    See Also
    --------
    CodingLengthClassifier : Classifies by the same measure.
    SubspaceClusterer : Finds a given number of subspaces among many samples.

    Notes
    -----
    All pairs: about n² determinants for n samples, of the side of the smaller cluster
    and at most d, and n² numbers of memory in the precision of `X`. With a
    `connectivity` of k others: O(n² d) time for the neighbours, in blocks, O(n k)
    memory, and costs of clusters are renewed when they have grown by a tenth.
    ``distortion="auto"`` clusters at most 600 of the samples at about 13 distortions.
    With many features, reduce them to tens first, for example by
    :class:`~sklearn.decomposition.PCA`: a subspace of hundreds of features is paid for
    only by clusters of hundreds of samples.
    There is no randomness; the order of the samples matters only in ties.

    References
    ----------
    .. [1] Ma, Derksen, Hong, Wright (2007). Segmentation of multivariate mixed data via
       lossy data coding and compression. IEEE TPAMI 29(9).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_whitebox import CodingLengthClusterer
    >>> rng = np.random.default_rng(0)
    >>> line = rng.normal(size=(30, 1)) * [1.0, 1.0, 0.0]
    >>> plane = rng.normal(size=(60, 2)) @ [[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]]
    >>> X = np.vstack([line, plane]) + 0.01 * rng.normal(size=(90, 3))
    >>> clusterer = CodingLengthClusterer().fit(X)
    >>> clusterer.n_clusters_, clusterer.subspace_dims_
    (2, array([1, 2]))
    >>> clusterer.predict([[3.0, 3.0, 0.0], [1.0, -1.0, 5.0]])
    array([0, 1], dtype=int32)
    """

    _parameter_constraints: dict = {  # noqa: RUF012
        "n_clusters": [Interval(Integral, 1, None, closed="left"), None],
        "distortion": [
            Interval(Real, 0, None, closed="neither"),
            StrOptions({"auto"}),
        ],
        "code_mean": ["boolean", StrOptions({"auto"})],
        "basis_cost": ["boolean"],
        "connectivity": [
            Interval(Integral, 1, None, closed="left"),
            "array-like",
            "sparse matrix",
            callable,
            None,
        ],
        "fragment_size": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "min_cluster_size": [Interval(Integral, 1, None, closed="left")],
        "compute_full_tree": ["boolean"],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_clusters=None,
        *,
        distortion="auto",
        code_mean="auto",
        basis_cost=True,
        connectivity=None,
        fragment_size="auto",
        min_cluster_size=1,
        compute_full_tree=True,
        n_jobs=None,
        verbose=0,
    ):
        self.n_clusters = n_clusters
        self.distortion = distortion
        self.code_mean = code_mean
        self.basis_cost = basis_cost
        self.connectivity = connectivity
        self.fragment_size = fragment_size
        self.min_cluster_size = min_cluster_size
        self.compute_full_tree = compute_full_tree
        self.n_jobs = n_jobs
        self.verbose = verbose

    @all_or_nothing()
    def fit(self, X, y=None):
        """Join samples to clusters, and summarise the clusters.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.
        y : None
            Ignored, present for the contract.

        Returns
        -------
        self : CodingLengthClusterer
            The fitted estimator.

        Raises
        ------
        ValueError
            If there are fewer samples than clusters, or than `min_cluster_size`, the
            costs of all pairs would not fit the memory budget, or the connectivity has
            another shape.
        """
        X = validate_array(self, X, ensure_min_samples=2, power=2)
        self._check_sizes(X)
        graph = self._graph(X)
        progress = Progress(self, 3, X)
        distortion, code_mean, fragment_size, path = self._choose_code(X)
        progress(0)
        tree = self._tree(X, graph, distortion, code_mean, fragment_size)
        n_merges = self._cut(tree)
        labels, n_clusters = self._labels(tree.labels(n_merges))
        self._log("%d clusters at distortion %.3g", n_clusters, distortion)
        if n_clusters == 1 and self.n_clusters is None:
            _warn_below_noise(X, distortion, code_mean)
        progress(1)
        with serial_blas():
            moments = [
                class_moments(X[labels == k], code_mean=code_mean)
                for k in range(n_clusters)
            ]
            bases = [
                principal_basis(*m, code_mean=code_mean).astype(X.dtype)
                for m in moments
            ]
        progress(2)
        progress.close()
        lengths = tree.lengths
        curve = np.full(len(X), np.nan)
        curve[len(X) - len(lengths) :] = lengths[::-1]
        self.labels_ = labels
        self.n_clusters_ = n_clusters
        self.children_ = tree.children
        self.distances_, self.distance_threshold_ = tree.heights()
        self.merge_costs_ = tree.costs
        self.coding_length_ = float(lengths[n_merges])
        self.coding_length_curve_ = curve
        self.distortion_ = distortion
        self.code_mean_ = code_mean
        self.fragment_size_ = fragment_size
        self.distortion_path_ = path
        self.bases_ = bases
        self.subspace_dims_ = np.array([len(basis) for basis in bases])
        self.means_ = np.stack([mean for _, mean, _ in moments])
        self.factors_ = [factor for _, _, factor in moments]
        self.cluster_sizes_ = np.bincount(labels[labels >= 0], minlength=n_clusters)
        self._n_features_out = n_clusters
        return self

    def transform(self, X):
        """Measure by how much each sample would lengthen the code of each cluster.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        lengths : ndarray or Tensor of shape (n_samples, n_clusters)
            Incremental coding lengths, that of the label included, in nats.
        """
        check_is_fitted(self)
        original = X
        X = validate_array(self, X, reset=False, power=2)
        lengths = self._increments(X).astype(X.dtype)
        return restore(lengths, like=original, estimator=self)

    def predict(self, X):
        """Assign each sample to the cluster that codes it in the fewest nats.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        labels : ndarray or Tensor of shape (n_samples,)
            Clusters, int32. If ``min_cluster_size > 1``, samples that are coded more
            cheaply alone are outliers, -1. On training samples, the greedy unions can
            have ended in another label.
        """
        check_is_fitted(self)
        original = X
        X = validate_array(self, X, reset=False, power=2)
        lengths = self._increments(X)
        labels = np.argmin(lengths, axis=1)
        if self.min_cluster_size > 1:
            nothing = class_moments(X[:0], code_mean=self.code_mean_)
            alone = ClassCoder(X, *nothing, **self._options())
            alone = alone.increments(self.distortion_) + np.log(len(self.labels_) + 1)
            labels[alone < lengths.min(axis=1)] = -1
        return restore(labels.astype(np.int32), like=original)

    def _increments(self, X):
        lengths = np.empty((len(X), self.n_clusters_))
        moments = zip(self.cluster_sizes_, self.means_, self.factors_, strict=True)
        with serial_blas():
            for k, (size, mean, factor) in enumerate(moments):
                coder = ClassCoder(X, size, mean, factor, **self._options())
                label = -np.log(size / len(self.labels_))
                lengths[:, k] = coder.increments(self.distortion_) + label
        return lengths

    def _options(self):
        return {"code_mean": self.code_mean_, "basis_cost": self.basis_cost}

    def _check_sizes(self, X):
        for name in ("n_clusters", "min_cluster_size"):
            value = getattr(self, name)
            if value is not None and value > len(X):
                raise ValueError(
                    f"{name}={value} is more than the n_samples={len(X)} samples; "
                    "lower it."
                )

    def _graph(self, X):
        """Return the connectivity as a sparse matrix, an int or None."""
        connectivity = self.connectivity
        if connectivity is None or isinstance(connectivity, Integral):
            return connectivity
        if callable(connectivity):
            connectivity = connectivity(X)
        graph = check_array(
            as_numpy(connectivity),
            accept_sparse=["csr", "coo", "lil"],
            input_name="connectivity",
        )
        if graph.shape != (len(X), len(X)):
            raise ValueError(
                f"connectivity has shape {graph.shape}, but must have one row and one "
                f"column for each of the n_samples={len(X)} samples."
            )
        return sparse.csr_array(graph)

    def _choose_code(self, X):
        """Return distortion, form of the code, fragment size, and the path tried."""
        given = None if self.distortion == "auto" else float(self.distortion)
        forms = [False, True] if self.code_mean == "auto" else [bool(self.code_mean)]
        sizes = FRAGMENT_SIZES
        if self.fragment_size != "auto":
            sizes = (int(self.fragment_size),)
        if given is not None and len(forms) == len(sizes) == 1:
            return given, forms[0], sizes[0], {}
        paths = [
            distortion_path(
                X,
                distortion=given,
                fragment_sizes=sizes,
                code_mean=form,
                basis_cost=self.basis_cost,
                min_cluster_size=self.min_cluster_size,
                n_jobs=self.n_jobs,
            )
            for form in forms
        ]
        chosen = int(np.argmin([path.description_length.min() for path in paths]))
        path = paths[chosen]
        for row in zip(*path, strict=True):
            self._log("distortion %.3g: %d clusters, %.1f nats", *row[:3])
        best = path.best()
        size = int(path.fragment_size[best])
        tried = {} if given else path._asdict()
        return float(path.distortion[best]), forms[chosen], size, tried

    def _tree(self, X, graph, distortion, code_mean, fragment_size):
        target = self.n_clusters
        if self.compute_full_tree or (target and self.min_cluster_size > 1):
            target = 1
        options = {
            "distortion": distortion,
            "fragment_size": min(fragment_size, max(1, len(X) // 2)),
            "code_mean": code_mean,
            "basis_cost": self.basis_cost,
        }
        if graph is None:
            return agglomerate_by_coding_length(X, n_clusters=target, **options)
        is_speed = isinstance(graph, Integral)
        if is_speed:
            graph = cheapest_partners(
                X, int(graph), distortion=distortion, code_mean=code_mean
            )
        return agglomerate_along_graph(
            X, graph, n_clusters=target, is_constraint=not is_speed, **options
        )

    def _cut(self, tree):
        """Return the number of steps after which the clusters are taken."""
        counts = tree.count_large(self.min_cluster_size)
        if self.n_clusters is None:
            n_merges = tree.best_step()
            if counts[n_merges] == 0:
                # Nothing is large enough yet; the code has to grow.
                later = np.flatnonzero(counts[n_merges:])
                return n_merges + int(later[0]) if len(later) else len(counts) - 1
            return n_merges
        reached = np.flatnonzero(counts == self.n_clusters)
        if len(reached) == 0:
            gaps = np.abs(counts - self.n_clusters)
            reached = np.flatnonzero(gaps == gaps[counts > 0].min())
            warn(
                f"There is no cut of the tree with n_clusters={self.n_clusters} "
                f"clusters of at least min_cluster_size={self.min_cluster_size} "
                f"samples; {counts[reached[0]]} clusters are taken. Lower either.",
                ConvergenceWarning,
            )
        return int(reached[np.argmin(tree.lengths[reached])])

    def _labels(self, labels):
        sizes = np.bincount(labels)
        large = sizes >= self.min_cluster_size
        if not large.any():
            large = sizes == sizes.max()
        position = np.where(large, np.cumsum(large) - 1, -1)
        return position[labels].astype(np.int32), int(large.sum())

    def _log(self, message, *values):
        if self.verbose:
            logger.info("CodingLengthClusterer: " + message, *values)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _warn_below_noise(X, distortion, code_mean):
    rows = X.astype(np.float64)
    if code_mean:
        rows -= rows.mean(axis=0)
    side = rows if len(rows) < rows.shape[1] else rows.T
    variance = np.linalg.eigvalsh(side @ side.T)[-1] / len(rows)
    if 0 < variance * rows.shape[1] < distortion:
        warn(
            f"distortion={distortion:.3g} is above the variance of the data in every "
            f"direction, {variance:.3g} times n_features={rows.shape[1]}, so that all "
            "structure counts as noise and one cluster is left. Lower it, or set "
            "distortion='auto'.",
            ConvergenceWarning,
        )
