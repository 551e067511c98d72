"""Cluster samples that lie near a union of subspaces."""

from numbers import Integral, Real

import numpy as np
import torch
from scipy import sparse
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox._array import as_numpy, check_memory, restore, validate_array
from sklearn_whitebox._compat import Interval, StrOptions, _check_sample_weight
from sklearn_whitebox._progress import Progress
from sklearn_whitebox._threads import serial_blas
from sklearn_whitebox.estimators._base import WhiteboxEstimator, all_or_nothing
from sklearn_whitebox.estimators._subspace_blocks import cluster_blocks
from sklearn_whitebox.estimators._subspace_fitting import SubspaceFitting
from sklearn_whitebox.estimators._subspace_labels import prepare_rows, to_original
from sklearn_whitebox.estimators._subspace_prediction import CodeBook, coding_costs
from sklearn_whitebox.solvers._subspaces import subspace_residuals
from sklearn_whitebox.solvers._weighted_rows import merge_equal_rows

# Rows up to which the graph is exact unless `n_anchors` says otherwise, and the rows it
# is then built on.
_EXACT_SIZE, _ANCHORS = 100_000, 20_000


class SubspaceClusterer(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, WhiteboxEstimator
):
    r"""Cluster samples by the subspaces they lie near.

    Each sample is written as a combination of the other samples. A sample of a union of
    subspaces is written most cheaply by samples of its own subspace, so the graph of
    these codes falls apart along the subspaces, and spectral clustering of the graph
    finds them. Clusters may cross at the origin, where no distance can tell them apart.
    Where data have too few dimensions for linear codes to tell clusters apart, near
    neighbours are linked instead; the default finds out which.

    Read more in the :ref:`User Guide <subspace_clustering>`.

    Parameters
    ----------
    n_clusters : int or "auto", default=8
        Number of clusters, K. ``"auto"`` takes the number up to `max_clusters` for
        which the clusters have the shortest coding length.
    method : str, default="auto"
        How samples are coded by the others:

        - ``"auto"`` chooses between ridge regression, near neighbours, both, and the
          elastic net, from the data alone, see
          :func:`~sklearn_whitebox.solvers.choose_graph`;
        - ``"elastic_net"`` (EnSC) and ``"lasso"`` (SSC), sparse and certified optimal:
          for subspaces that are close or not independent;
        - ``"omp"``, orthogonal matching pursuit (SSC-OMP), which bounds the number of
          neighbours, and is weaker where data are noisy;
        - ``"ridge"`` (LSR) and ``"low_rank"`` (LRSC), closed forms of which the
          largest coefficients are kept: fast, for nearly independent subspaces;
        - ``"thresholding"`` (TSC), the samples at the smallest angles;
        - ``"neighbors"``, the nearest samples, which needs no subspaces;
        - ``"ridge+neighbors"``, the sum of the two graphs.
    gamma : float, default=50.0
        Weight of the data against the penalty of the elastic net and the lasso, in
        units of the least weight with a non-zero code. Larger than 1.
    l1_ratio : float, default=0.9
        Share of the ℓ1 norm in the penalty of the elastic net, in (0, 1]. Less ℓ1
        gives more neighbours and a better connected graph.
    n_nonzero_coefs : int, default=5
        Most samples in one pursuit, for ``method="omp"``; at most the dimension of the
        subspaces, less for noisy data.
    n_pursuits : int, default=3
        Pursuits of each sample, for ``method="omp"``; each uses samples that the
        earlier ones have not used, and the codes are averaged. 1 is SSC-OMP.
    alpha : float, default=None
        Regularisation of ``"ridge"`` and ``"low_rank"``. None is chosen from the
        singular values: for unit rows and ``"ridge"`` half of n_samples / n_features.
    n_neighbors : int, default=15
        Coefficients of a sample that closed forms keep, and its near neighbours.
    tol : float, default=1e-6
        Relative residual at which the pursuit stops, or largest relative violation of
        the optimality conditions of the elastic net.
    max_nonzero : int, default=None
        Keep only the so many largest coefficients of a sample; None keeps all.
    shared_neighbors : int, default=None
        Rounds in which an edge of the affinity graph is multiplied by the similarity
        of the neighbourhoods of its ends. None takes one for sparse codes and two for
        the others; 0 suits points spread evenly over close subspaces.
    normalize : bool, default=True
        Whether to scale the samples to unit norm before they are coded. Near
        neighbours are sought in the scale of the data.
    affine : bool or "auto", default="auto"
        Whether subspaces may miss the origin. The data are then centred and get one
        more coordinate of constant value. ``"auto"`` does so if `method` names sparse
        codes and there are fewer features than clusters, or fewer than three: linear
        subspaces then cannot be independent. Trajectories of points on moving bodies
        want True.
    affine_scale : float, default=1.0
        The constant, in units of the median norm of the centred samples.
    max_clusters : int, default=20
        Largest number tried by ``n_clusters="auto"``.
    assign_labels : {"kmeans", "cluster_qr"}, default="kmeans"
        How the spectral embedding is cut: by k-means, or by a pivoted QR factorisation
        that needs no starts.
    n_init : int, default=20
        Random starts of k-means; up to 2,000 samples one more starts from a hierarchy.
    refine : bool, default=True
        Whether to move samples from the clusters of the graph to the nearest
        subspaces, where the subspaces explain the data to the level of the noise and
        the move shortens the coding length.
    on_disconnected : {"merge", "bridge", "raise"}, default="merge"
        What to do if the graph has more connected components than `n_clusters`: merge
        them by their coding length, with a warning; connect them by weak links between
        near neighbours; or raise an error.
    subspace_dim : int or "auto", default="auto"
        Dimension of the fitted subspaces; ``"auto"`` keeps a share of the squared norm
        of each cluster between 80 and 98 %, that for which held-out samples are
        assigned best.
    predict_method : str, default="auto"
        How new samples are assigned: ``"subspace"``, ``"representation"`` or
        ``"coding_length"``: to the nearest subspace; by a vote of the training
        samples that code them; or to the cluster whose code they lengthen least.
        ``"auto"`` takes the vote only if held-out training samples agree better with
        it, and keeps the training samples then.
    n_anchors : int or "auto", default="auto"
        Build the graph on so many distinct samples, those with the smallest hashes of
        their values, which are as good as random, and assign the others as new ones.
        ``"auto"`` takes all up to 100,000 samples, and 20,000 of more; 10,000 if
        ``method="auto"`` has chosen sparse codes.
    device : str or torch.device, default="auto"
        Where codes are made: ``"auto"`` takes CUDA if there is one and the work is
        worth the transfers.
    n_jobs : int, default=None
        Threads for the codes, as in joblib. The result does not depend on it.
    random_state : int, RandomState instance or None, default=None
        Seeds the starts of k-means and of the eigensolver.
    verbose : int, default=0
        Log the stages of the fit.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,)
        Cluster of each sample, int32; clusters are numbered by falling weight among the
        samples that the graph was built on.
    method_ : str
        The method that was used; "kmeans" if ``method="auto"`` meets samples that are
        mostly copies, and fewer distinct ones than `n_neighbors` a cluster.
    method_evidence_ : dict
        What ``method="auto"`` compared, see
        :func:`~sklearn_whitebox.solvers.choose_graph`; empty otherwise.
    representation_ : csr_array of shape (n_samples, n_samples)
        Codes: row i writes sample i by the others. The diagonal is zero. Copies of a
        sample have the same row. Samples that are no anchors have none.
    affinity_matrix_ : csr_array of shape (n_samples, n_samples)
        Symmetric weights of the graph of the distinct samples: the first of several
        copies has the edges.
    bases_ : list of ndarray of shape (subspace_dim, n_features)
        Orthonormal basis of each cluster; with one more column if the subspaces are
        affine.
    subspace_dims_ : ndarray of shape (n_clusters,)
        Their dimensions.
    n_clusters_ : int
        Clusters found; fewer than `n_clusters` only if fewer samples are distinct.
    n_clusters_path_ : ndarray of shape (n_candidates, 2)
        Numbers of clusters tried and coding lengths in nats; empty if the number was
        given.
    n_connected_components_ : int
        Connected components of the graph, isolated samples included.
    isolated_ : ndarray
        Indices of the samples without an edge, labelled by the nearest subspace.
    anchors_ : ndarray
        Indices of the samples the graph was built on, if they are not all; else empty.
    predict_method_ : str
        Rule for new samples.
    predict_agreement_ : float
        Share of held-out training samples that the rule gives their label; nan if there
        are too few samples to tell.
    affine_ : bool
        Whether the subspaces are affine.
    offset_ : ndarray of shape (n_features,)
        Mean that was subtracted; zero if the subspaces are linear.
    affine_constant_ : float
        Value of the constant coordinate; zero if the subspaces are linear.
    n_iter_ : int
        Pursuits, or most changes of the support of a sample's code; 1 for closed forms.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit, if they were all strings.

    Notes
    -----
    Costs O(n² d) time for n samples of d features, a few times over for sparse codes,
    and O(n d) memory: the n × n matrix of correlations is visited in blocks. With
    anchors, n is their number and O(n_samples K d) is added. Copies of a sample count
    as its weight; opposite samples get one label if they are scaled to unit norm.
    Sparse input is made dense, which is refused beforehand if it would not fit the
    memory budget; products of sparse codes stay sparse.

    References
    ----------
    .. [1] Elhamifar, Vidal (2013). Sparse subspace clustering: algorithm, theory, and
       applications. IEEE TPAMI 35(11).
    .. [2] You, Li, Robinson, Vidal (2016). Oracle based active set algorithm for
       scalable elastic net subspace clustering. CVPR.
    .. [3] You, Robinson, Vidal (2016). Scalable sparse subspace clustering by
       orthogonal matching pursuit. CVPR.
    .. [4] Lu, Min, Zhao, Zhu, Huang, Yan (2012). Robust and efficient subspace
       segmentation via least squares regression. ECCV.
    .. [5] Favaro, Vidal, Ravichandran (2011). A closed form solution to robust subspace
       estimation and clustering. CVPR.
    .. [6] Heckel, Bölcskei (2015). Robust subspace clustering via thresholding. IEEE
       Transactions on Information Theory 61(11).

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
    array([2, 1])
    >>> clusterer.predict([[3.0, 3.0, 0.0], [1.0, -1.0, 5.0]])
    array([1, 0], dtype=int32)
    """

    _parameter_constraints: dict = {  # noqa: RUF012
        "n_clusters": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "method": [
            StrOptions(
                {
                    "auto",
                    "elastic_net",
                    "lasso",
                    "omp",
                    "ridge",
                    "low_rank",
                    "thresholding",
                    "neighbors",
                    "ridge+neighbors",
                }
            )
        ],
        "gamma": [Interval(Real, 1, None, closed="neither")],
        "l1_ratio": [Interval(Real, 0, 1, closed="right")],
        "n_nonzero_coefs": [Interval(Integral, 1, None, closed="left")],
        "n_pursuits": [Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="neither"), None],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_nonzero": [Interval(Integral, 1, None, closed="left"), None],
        "shared_neighbors": [Interval(Integral, 0, None, closed="left"), None],
        "normalize": ["boolean"],
        "affine": ["boolean", StrOptions({"auto"})],
        "affine_scale": [Interval(Real, 0, None, closed="neither")],
        "max_clusters": [Interval(Integral, 1, None, closed="left")],
        "assign_labels": [StrOptions({"kmeans", "cluster_qr"})],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "refine": ["boolean"],
        "on_disconnected": [StrOptions({"merge", "bridge", "raise"})],
        "subspace_dim": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "predict_method": [
            StrOptions({"auto", "subspace", "representation", "coding_length"})
        ],
        "n_anchors": [
            Interval(Integral, 2, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "device": [str, torch.device, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_clusters=8,
        *,
        method="auto",
        gamma=50.0,
        l1_ratio=0.9,
        n_nonzero_coefs=5,
        n_pursuits=3,
        alpha=None,
        n_neighbors=15,
        tol=1e-6,
        max_nonzero=None,
        shared_neighbors=None,
        normalize=True,
        affine="auto",
        affine_scale=1.0,
        max_clusters=20,
        assign_labels="kmeans",
        n_init=20,
        refine=True,
        on_disconnected="merge",
        subspace_dim="auto",
        predict_method="auto",
        n_anchors="auto",
        device="auto",
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
        self.alpha = alpha
        self.n_neighbors = n_neighbors
        self.tol = tol
        self.max_nonzero = max_nonzero
        self.shared_neighbors = shared_neighbors
        self.normalize = normalize
        self.affine = affine
        self.affine_scale = affine_scale
        self.max_clusters = max_clusters
        self.assign_labels = assign_labels
        self.n_init = n_init
        self.refine = refine
        self.on_disconnected = on_disconnected
        self.subspace_dim = subspace_dim
        self.predict_method = predict_method
        self.n_anchors = n_anchors
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @all_or_nothing()
    def fit(self, X, y=None, sample_weight=None):
        """Find the clusters of the samples and a subspace for each.

        Parameters
        ----------
        X : array-like, Tensor or sparse matrix of shape (n_samples, n_features)
            Samples.
        y : None
            Ignored, present for the contract.
        sample_weight : array-like of shape (n_samples,), default=None
            How many times each sample counts in the cuts of the graph; samples of
            weight zero are only assigned.

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
        data = validate_array(self, X, ensure_min_samples=2, accept_sparse="csr")
        data, sparse_rows = _as_dense(data)
        weights = np.ones(len(data))
        if sample_weight is not None:
            weights = _check_sample_weight(
                as_numpy(sample_weight),
                data,
                dtype=np.float64,
                ensure_non_negative=True,
            )
        first, inverse, totals = merge_equal_rows(data, weights)
        n_anchors = self._count_anchors(len(first))
        fitting = SubspaceFitting(self, sparse_rows)
        fitting.check_sizes(data, n_anchors)
        progress = Progress(self, 4, data)
        state = fitting.run(data[first[:n_anchors]], totals[:n_anchors], progress)
        n_anchors = len(state["labels_"])
        anchored = n_anchors < len(first)
        inverse = np.where(inverse < n_anchors, inverse, -1)
        first = first[:n_anchors]
        for name, value in state.items():
            setattr(self, name, value)
        known = inverse >= 0
        labels = np.full(len(data), -1, np.int32)
        labels[known] = state["labels_"][inverse[known]]
        if not known.all():
            labels[~known] = self._assign_new(data[~known])
        progress(3)
        progress.close()
        self.labels_ = labels
        self.anchors_ = np.sort(first) if anchored else np.empty(0, np.int64)
        self.isolated_ = np.flatnonzero(np.isin(inverse, state["isolated_"]))
        self.representation_ = to_original(
            state["representation_"], first, inverse, len(data), copy_rows=True
        )
        self.affinity_matrix_ = to_original(
            state["affinity_matrix_"], first, inverse, len(data), copy_rows=False
        )
        self._n_features_out = self.n_clusters_
        return self

    @all_or_nothing()
    def fit_blocks(self, blocks):
        """Cluster samples that do not fit in memory.

        The graph is built on the anchors of `fit`, which a hash of their values picks
        from all blocks; the other samples are assigned as by :meth:`predict`, block by
        block. How the samples are divided into blocks, `n_jobs` and the backend of
        joblib change nothing. Memory beyond the anchors is that of the labels. See
        :ref:`scaling`.

        Parameters
        ----------
        blocks : iterable of blocks, ndarray or dask array
            Blocks of shape (n_rows, n_features), or functions without arguments that
            load them; read three times. An array or memory map is cut by rows.

        Returns
        -------
        self : SubspaceClusterer
            The fitted estimator. ``labels_`` is in the order of the blocks; with fewer
            anchors than samples, ``representation_`` and ``affinity_matrix_`` are those
            of the samples ``anchors_`` alone.

        Raises
        ------
        TypeError
            If `blocks` can be read only once.
        ValueError
            If a block does not fit the others, or as in `fit`.
        """
        return cluster_blocks(self, blocks)

    def transform(self, X):
        """Measure the distance of each sample to each subspace.

        Parameters
        ----------
        X : array-like, Tensor or sparse matrix of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        distances : ndarray or Tensor of shape (n_samples, n_clusters)
            Norms of the residuals of the samples, prepared as in `fit`: with
            ``normalize=True``, sines of their angles to the subspaces.
        """
        check_is_fitted(self)
        original = X
        X = validate_array(self, X, reset=False, accept_sparse="csr")
        distances, _ = self._distances(_as_dense(X)[0])
        return restore(distances, like=original, estimator=self)

    def predict(self, X):
        """Assign each sample to a cluster, by the rule `predict_method_`.

        Parameters
        ----------
        X : array-like, Tensor or sparse matrix of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        labels : ndarray or Tensor of shape (n_samples,)
            Clusters, int32. Samples of norm zero, on which all subspaces agree, go to
            the largest cluster.
        """
        check_is_fitted(self)
        original = X
        X = validate_array(self, X, reset=False, accept_sparse="csr")
        return restore(self._assign_new(_as_dense(X)[0]), like=original)

    def _assign_new(self, X):
        labels = np.zeros(len(X), np.int32)
        with serial_blas():
            if self.predict_method_ == "coding_length":
                rows = self._prepare(X)
                costs = coding_costs(rows / self._unit, self._moments, self._distortion)
                labels[:] = np.argmin(costs, axis=1)
                labels[~rows.any(axis=1)] = 0
                return labels
            missing = np.ones(len(X), bool)
            if self.predict_method_ == "representation":
                votes = CodeBook(*self._code_book).votes(X, self._prepare(X))
                missing = votes.max(axis=1) <= 0
                labels[:] = np.argmax(votes, axis=1)
            if missing.any():
                distances, is_zero = self._distances(X[missing])
                nearest = np.argmin(distances, axis=1)
                nearest[is_zero] = 0
                labels[missing] = nearest
        return labels

    def _prepare(self, X):
        return prepare_rows(
            X, self.affine_, self.offset_, self.affine_constant_, self.normalize
        )

    def _distances(self, X):
        rows = self._prepare(X)
        bases = [basis.astype(rows.dtype, copy=False) for basis in self.bases_]
        # Distances grow with the rows; squares of very small ones would underflow.
        peaks = np.abs(rows).max(axis=1, keepdims=True)
        is_zero = peaks[:, 0] == 0
        peaks[is_zero] = 1
        with serial_blas():
            return peaks * subspace_residuals(rows / peaks, bases), is_zero

    def _count_anchors(self, n_distinct):
        if self.n_anchors == "auto":
            return n_distinct if n_distinct <= _EXACT_SIZE else _ANCHORS
        return min(self.n_anchors, n_distinct)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _as_dense(X):
    """Return a dense array, and whether the input was sparse."""
    if not sparse.issparse(X):
        return X, False
    check_memory(
        2.0 * X.shape[0] * X.shape[1] * X.dtype.itemsize,
        what=f"X of shape {X.shape} as a dense array",
        remedy="reduce its features first, as by TruncatedSVD",
    )
    return X.toarray(), True
