"""Learn features and clusters together, by rate reduction."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox._array import (
    check_memory,
    inference_device,
    resolve_device,
    restore,
    validate_array,
)
from sklearn_whitebox._compat import Interval, StrOptions
from sklearn_whitebox._progress import Progress
from sklearn_whitebox._random import draw_seed
from sklearn_whitebox._threads import serial_blas
from sklearn_whitebox._warn import warn
from sklearn_whitebox.estimators._base import WhiteboxEstimator, all_or_nothing
from sklearn_whitebox.estimators._cluster_labels import number_by_appearance, unit_rows
from sklearn_whitebox.estimators._export_encoders import clusters_module
from sklearn_whitebox.estimators._rate_clusterer_steps import (
    distinct_directions,
    embed,
    make_network,
    membership_graph,
    nearest_subspace,
    train_network,
)
from sklearn_whitebox.functional import rate_reduction
from sklearn_whitebox.solvers._cluster_count import choose_cut, leading_coordinates
from sklearn_whitebox.solvers._rate_clustering import RateClusteringObjective
from sklearn_whitebox.solvers._subspaces import fit_subspaces
from sklearn_whitebox.solvers._train import TrainSettings

_WEIGHT_DECAY = 1e-4

# How cuts are coded to count clusters. Learned features are spread evenly over all
# their directions, so that every cluster would pay for a basis of all of them; the rows
# themselves spend most of their energy in few.
_CODED_COORDINATES = 32
_CODED_DISTORTION = 0.05


class RateReductionClusterer(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, WhiteboxEstimator
):
    r"""Cluster samples and learn features in which the clusters are subspaces.

    Manifold linearising and clustering: a network with two heads gives each sample a
    feature z and a cluster embedding c, both of unit norm. The embeddings make a doubly
    stochastic membership Π, by a Sinkhorn projection of their absolute cosines, and
    both heads minimise

    .. math:: -R(Z) + \gamma R_c(Z \mid \Pi) + \tfrac\lambda2 \|\Pi\|_F^2,

    which spreads all features and compresses those that belong together. It is meant
    for feature vectors, such as those of a pretrained image model or of a scattering
    transform.

    Read more in the :ref:`User Guide <rate_reduction_clustering>`.

    Parameters
    ----------
    n_clusters : int or "auto", default=8
        Number of clusters, K. ``"auto"`` tries 1 to `max_clusters` on the same graph
        and keeps the cut that gives the unit rows, in their 32 leading principal
        coordinates, the shortest code at a distortion of 0.05.
    n_components : int, default=128
        Dimension of features and embeddings; with ``init="ridge"`` at most the numbers
        of features and of samples.
    hidden_layer_sizes : sequence of int, default=(256,)
        Widths of the hidden layers that both heads share; empty for linear heads.
    init : {"ridge", "random"}, default="ridge"
        Where training starts. ``"ridge"``: from whitened principal coordinates, the
        cosines of which are ridge self-expressive codes, so that training refines a
        subspace clustering of the rows. ``"random"``: from random weights, as
        published; it needs more passes and more data.
    distortion : float, default=0.1
        Allowed mean squared error ε² of the code, for features of unit norm.
    temperature : float, default=0.12
        Temperature of the Sinkhorn projection. Lower values share a sample's
        membership among fewer others.
    compression_weight : float, default=1.0
        Weight γ of the rate of the groups. Well above 1 all features collapse.
    membership_penalty : float, default=0.05
        Weight λ of the squared memberships, against groups of single samples.
    n_columns : int or None, default=24
        Groups of a batch that are drawn in each step to estimate the mean rate of all;
        None takes all.
    batch_size : int, default=512
        Rows of a step. A batch should hold several samples of each cluster.
    learning_rate : float, default="auto"
        Peak learning rate of AdamW, before a cosine decay to zero. ``"auto"`` is 1e-4
        for ``init="ridge"`` and 1e-3 for ``init="random"``.
    warmup_iter : int, default="auto"
        Passes that only spread the features, after which the cluster head goes on from
        the feature head. ``"auto"`` is 0 for ``init="ridge"``, whose start is spread
        already, and 5 for ``init="random"``.
    max_iter : int, default=20
        Passes over the data after that. 0 clusters by the start alone.
    n_neighbors : int, default=15
        Edges of a sample in the final graph.
    max_clusters : int, default=20
        Largest number tried by ``n_clusters="auto"``.
    max_anchors : int, default=10000
        Samples in the final graph; beyond that, so many are drawn, and the others go
        to the nearest subspace of features.
    subspace_dim : int or "auto", default="auto"
        Dimension of the fitted subspaces; ``"auto"`` keeps 95 % of the squared norm of
        each cluster's features.
    device : str or torch.device, default="auto"
        Where to compute: ``"cpu"``, ``"cuda"``, … ``"auto"`` takes CUDA if there is one
        and the work is more than about ten billion multiply-adds. The fitted model is
        on no device; where a named CUDA device is missing it predicts on the CPU.
    random_state : int, RandomState instance or None, default=None
        Determines initial weights, batches, drawn columns and anchors, and k-means.
    verbose : int, default=0
        Log every tenth of the passes (1) or every pass (2).

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,)
        Cluster of each sample, int32, numbered by first appearance.
    embedding_ : ndarray of shape (n_samples, n_components)
        Features of the samples, as `transform` gives them.
    cluster_embedding_ : ndarray of shape (n_samples, n_components)
        Cluster embeddings; the memberships are
        ``sinkhorn(abs(C @ C.T), temperature=temperature)``.
    affinity_matrix_ : csr_array of shape (n_anchors, n_anchors)
        Graph of the anchors: neighbours in the coordinates of the start (for
        ``init="random"``, of the cluster head), weighted by their memberships.
    keeps_start_ : bool
        Whether the labels are those of the start, because the features have a larger
        rate reduction under them than under those of the trained memberships. Always
        False for ``init="random"``.
    anchor_indices_ : ndarray of shape (n_anchors,)
        Samples of the graph: all, less copies and rows of zeros, or `max_anchors` of
        them.
    bases_ : list of ndarray of shape (dim, n_components)
        Orthonormal basis of each cluster's features.
    subspace_dims_ : ndarray of shape (n_clusters,)
        Their dimensions.
    n_clusters_ : int
        Clusters found; fewer than `n_clusters` only if fewer samples are distinct.
    n_clusters_path_ : ndarray of shape (n_candidates, 2)
        Numbers of clusters tried and the coding lengths of their cuts in nats; empty
        unless ``n_clusters="auto"``.
    n_connected_components_ : int
        Connected components of the graph, isolated samples included.
    weights_ : dict of str to ndarray
        Weights of the network.
    loss_curve_ : list of float
        Mean loss of every pass, in nats; of passes of the warm-up, minus the rate.
    n_iter_ : int
        Passes done, warm-up included.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if `X` had any.

    See Also
    --------
    SubspaceClusterer : Clusters by self-expression alone, without a network.
    RateReductionEmbedding : Learns such features from labels.

    Notes
    -----
    Rows are scaled to unit norm first, and nothing is subtracted. The network has odd
    activations and no biases, so opposite rows have opposite features and share a
    cluster. With p components, q columns and batches of b rows a step costs
    O(q b p² + b³) time; the graph of m anchors O(m² p), about ten times over, and O(m)
    memory. Training is bitwise reproducible for a given `random_state` on one machine
    with one number of threads. A new sample belongs to the nearest of the fitted
    subspaces; on the training samples that rule can differ from `labels_`.

    References
    ----------
    .. [1] Ding, Tong, Chan, Dai, Ma, Haeffele (2023). Unsupervised manifold linearizing
       and clustering. ICCV.
    .. [2] Chu, Tong, Ding, Dai, Haeffele, Vidal, Ma (2024). Image clustering via the
       principle of rate reduction in the age of pretrained models. ICLR.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_whitebox import RateReductionClusterer
    >>> rng = np.random.default_rng(0)
    >>> X = np.zeros((60, 6))
    >>> X[::2, :3] = rng.normal(size=(30, 3))
    >>> X[1::2, 3:] = rng.normal(size=(30, 3))
    >>> clusterer = RateReductionClusterer(2, max_iter=5, random_state=0).fit(X)
    >>> clusterer.labels_[:6]
    array([0, 1, 0, 1, 0, 1], dtype=int32)
    >>> clusterer.predict([[0.0, 0.0, 0.0, 1.0, 2.0, 3.0]])
    array([1], dtype=int32)
    """

    _parameter_constraints: dict = {  # noqa: RUF012
        "n_clusters": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": ["array-like"],
        "init": [StrOptions({"ridge", "random"})],
        "distortion": [Interval(Real, 0, None, closed="neither")],
        "temperature": [Interval(Real, 0, None, closed="neither")],
        "compression_weight": [Interval(Real, 0, None, closed="left")],
        "membership_penalty": [Interval(Real, 0, None, closed="left")],
        "n_columns": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "learning_rate": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "warmup_iter": [
            StrOptions({"auto"}),
            Interval(Integral, 0, None, closed="left"),
        ],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "max_clusters": [Interval(Integral, 1, None, closed="left")],
        "max_anchors": [Interval(Integral, 2, None, closed="left")],
        "subspace_dim": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "device": [str, torch.device, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_clusters=8,
        *,
        n_components=128,
        hidden_layer_sizes=(256,),
        init="ridge",
        distortion=0.1,
        temperature=0.12,
        compression_weight=1.0,
        membership_penalty=0.05,
        n_columns=24,
        batch_size=512,
        learning_rate="auto",
        warmup_iter="auto",
        max_iter=20,
        n_neighbors=15,
        max_clusters=20,
        max_anchors=10_000,
        subspace_dim="auto",
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.n_clusters = n_clusters
        self.n_components = n_components
        self.hidden_layer_sizes = hidden_layer_sizes
        self.init = init
        self.distortion = distortion
        self.temperature = temperature
        self.compression_weight = compression_weight
        self.membership_penalty = membership_penalty
        self.n_columns = n_columns
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.warmup_iter = warmup_iter
        self.max_iter = max_iter
        self.n_neighbors = n_neighbors
        self.max_clusters = max_clusters
        self.max_anchors = max_anchors
        self.subspace_dim = subspace_dim
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @all_or_nothing()
    def fit(self, X, y=None):
        """Learn features and clusters of the samples.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples, such as feature vectors of images.
        y : None
            Ignored, present for the contract.

        Returns
        -------
        self : RateReductionClusterer
            The fitted clusterer.

        Raises
        ------
        ValueError
            If there are fewer samples or anchors than clusters, the work would not fit
            the memory budget, or training diverges.
        """
        X = validate_array(self, X, ensure_min_samples=2, power=2)
        n_wanted = 1 if self.n_clusters == "auto" else self.n_clusters
        if len(X) < n_wanted:
            raise ValueError(
                f"n_clusters={self.n_clusters} must be at most the {len(X)} samples; "
                "lower it or add samples."
            )
        if self.max_anchors < n_wanted:
            raise ValueError(
                f"max_anchors={self.max_anchors} must be at least n_clusters="
                f"{self.n_clusters}; raise it."
            )
        hidden = self._hidden_widths()
        rows = unit_rows(X)
        first, position = distinct_directions(rows)
        distinct = rows[first] if len(first) else rows[:1]
        generator = torch.Generator().manual_seed(draw_seed(self.random_state))
        seed = int(torch.randint(2**31 - 1, (1,), generator=generator))
        device = self._train(X, distinct, hidden, generator)
        Z, C, coordinates = embed(self.weights_, distinct, device, with_stem=True)
        features = Z.cpu().numpy()
        labels = self._label_directions(
            distinct, features, C, coordinates, generator, seed
        )
        labels, n_found = self._label_samples(labels, position)
        self.anchor_indices_ = (first if len(first) else np.zeros(1, np.int64))[
            self.anchor_indices_
        ]
        if self.n_clusters != "auto" and n_found < self.n_clusters:
            self._report_lack(n_found)
        outputs = embed(self.weights_, rows, device)
        self.embedding_, self.cluster_embedding_ = (
            output.cpu().numpy().astype(X.dtype, copy=False) for output in outputs
        )
        with serial_blas():
            dim = None if self.subspace_dim == "auto" else self.subspace_dim
            self.bases_ = fit_subspaces(
                self.embedding_, labels, n_found, subspace_dim=dim
            )
        self.subspace_dims_ = np.array([len(basis) for basis in self.bases_])
        if rows.any() and not self.subspace_dims_.any():
            raise ValueError(
                "Training diverged (all features are zero); lower learning_rate="
                f"{self.learning_rate}."
            )
        self.labels_ = labels
        self.n_clusters_ = n_found
        self._largest_cluster = int(np.argmax(np.bincount(labels)))
        return self

    def transform(self, X):
        """Compute the learned features.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        Z : ndarray or Tensor of shape (n_samples, n_components)
            Features of unit norm, each row computed from its own input alone, in the
            floating type of `X`; zero for rows of zeros.
        """
        check_is_fitted(self)
        rows = validate_array(self, X, reset=False, power=2)
        Z = self._features(rows).astype(rows.dtype, copy=False)
        return restore(Z, like=X, estimator=self)

    def predict(self, X):
        """Assign each sample to the cluster whose subspace of features is nearest.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        labels : ndarray or Tensor of shape (n_samples,)
            Clusters, int32. Rows of zeros go to the largest cluster.
        """
        check_is_fitted(self)
        rows = validate_array(self, X, reset=False, power=2)
        Z = self._features(rows)
        labels = nearest_subspace(Z, self.bases_)
        labels[~Z.any(axis=1)] = self._largest_cluster
        return restore(labels.astype(np.int32), like=X)

    def build_module(self):
        """Build the fitted model as a module of plain torch.

        Changing it does not change the estimator. What it takes, how to train it
        further and how to write it as ONNX is told in the :ref:`User Guide <export>`.

        Returns
        -------
        module : torch.nn.Module
            On the CPU, in evaluation mode. Its ``forward(X)`` gives a pair for a tensor
            of the same rows: what :meth:`transform` gives, and what :meth:`predict`
            gives, as int64.
        """
        return clusters_module(self)

    @property
    def _n_features_out(self):
        return len(self.weights_["stem.weight"])

    def _features(self, X):
        size = sum(w.size for w in self.weights_.values())
        device = inference_device(self.device, work=float(len(X)) * size)
        return embed(self.weights_, unit_rows(X), device)[0].cpu().numpy()

    def _hidden_widths(self):
        widths = tuple(np.atleast_1d(self.hidden_layer_sizes).tolist())
        if not all(isinstance(width, int) and width >= 1 for width in widths):
            raise ValueError(
                f"hidden_layer_sizes={self.hidden_layer_sizes!r} must be positive "
                "integers, one per hidden layer."
            )
        return widths

    def _train(self, X, rows, hidden, generator):
        """Train the network on distinct rows; return the device used."""
        p = self.n_components
        if self.init == "ridge":
            p = min(p, *rows.shape)
        random = self.init == "random"
        rate = self.learning_rate
        if rate == "auto":
            rate = 1e-3 if random else 1e-4
        n_warmup = self.warmup_iter
        if n_warmup == "auto":
            n_warmup = 5 if random else 0
        steps = max(1, round(len(rows) / self.batch_size))
        work = self._step_work(-(-len(rows) // steps), p, rows.shape[1], hidden)
        n_passes = n_warmup + self.max_iter
        device = resolve_device(self.device, work=work * steps * n_passes)
        progress = Progress(self, max(1, n_passes), X, verbose=self.verbose)
        network = make_network(rows, p, hidden, self.init, generator)
        try:
            self.weights_, self.loss_curve_ = train_network(
                network,
                rows,
                device,
                work,
                objective=RateClusteringObjective(
                    distortion=self.distortion,
                    temperature=self.temperature,
                    compression_weight=self.compression_weight,
                    membership_penalty=self.membership_penalty,
                    n_columns=self.n_columns,
                ),
                settings=TrainSettings(
                    learning_rate=float(rate),
                    max_epochs=self.max_iter,
                    steps_per_epoch=steps,
                    weight_decay=_WEIGHT_DECAY,
                ),
                generator=generator,
                warmup_epochs=n_warmup,
                callback=progress,
            )
        except FloatingPointError as error:
            raise ValueError(
                f"Training diverged ({error}); lower learning_rate={rate:.2g}, or "
                f"raise distortion={self.distortion} or temperature="
                f"{self.temperature}."
            ) from error
        progress.close()
        self.n_iter_ = len(self.loss_curve_)
        return device

    def _step_work(self, n_rows, p, n_inputs, hidden):
        """Count the multiply-adds of a step, and refuse what needs too much memory."""
        n_columns = min(n_rows, self.n_columns or n_rows)
        n_weights = p * (n_inputs + 2 * p) + sum(
            a * b for a, b in zip((p, *hidden), (*hidden, 2 * p), strict=True)
        )
        check_memory(
            4.0 * (8 * n_rows**2 + n_columns * (3 * n_rows * p + 4 * p * p))
            + 16.0 * n_weights,
            what=f"A step on a batch of {n_rows} rows, {n_columns} columns and {p} "
            "components",
            remedy="lower batch_size, n_columns or n_components",
        )
        groups = 3.0 * n_columns * p * p * (n_rows + p)
        return groups + 3.0 * n_rows * n_weights + n_rows**3 / 3

    def _label_directions(self, rows, Z, C, coordinates, generator, seed):
        """Cut the graph of the anchors, and label the other rows after them."""
        m = min(len(Z), self.max_anchors)
        drawn = torch.randperm(len(Z), generator=generator)[:m].sort().values
        anchors = drawn.numpy()
        C, coordinates = (part[drawn.to(part.device)] for part in (C, coordinates))
        options = {
            "temperature": self.temperature,
            "n_neighbors": self.n_neighbors,
            "distortion": self.distortion,
            "seed": seed,
        }
        is_ridge = self.init == "ridge"
        features = Z[anchors]
        graph = membership_graph(coordinates if is_ridge else C, C, features, **options)
        self.n_clusters_path_ = np.empty((0, 2))
        if self.n_clusters == "auto":
            found = self._count(rows[anchors], graph)
        else:
            found = graph.cut(self.n_clusters)
        self.keeps_start_ = False
        if is_ridge and self.n_iter_:
            start = membership_graph(coordinates, coordinates, features, **options)
            rival = start.cut(len(np.unique(found)))
            if self._gain(features, rival) > self._gain(features, found):
                graph, found, self.keeps_start_ = start, rival, True
        if self.n_clusters != "auto":
            self._report_disconnection(graph.components)
        self.affinity_matrix_ = graph.affinity
        self.anchor_indices_ = anchors
        self.n_connected_components_ = len(graph.components) + len(graph.isolated)
        if m == len(Z):
            return found
        bases = fit_subspaces(features, found, found.max() + 1)
        labels = nearest_subspace(Z, bases)
        labels[anchors] = found
        return labels

    def _count(self, rows, graph):
        candidates = range(1, min(self.max_clusters, len(rows)) + 1)
        with serial_blas():
            coded = leading_coordinates(rows, _CODED_COORDINATES)
        found, self.n_clusters_path_ = choose_cut(
            coded, graph.cut, candidates, distortion=_CODED_DISTORTION
        )
        self._report_end(found)
        return found

    def _gain(self, Z, labels):
        return rate_reduction(Z.astype(np.float64), labels, distortion=self.distortion)

    @staticmethod
    def _label_samples(labels, position):
        """Give copies the label of their direction, rows of zeros the commonest."""
        all_labels = labels[np.maximum(position, 0)]
        if (position < 0).any() and (position >= 0).any():
            commonest = np.argmax(np.bincount(all_labels[position >= 0]))
            all_labels = np.where(position < 0, commonest, all_labels)
        return number_by_appearance(all_labels)

    def _report_lack(self, n_found):
        warn(
            f"Only {n_found} of n_clusters={self.n_clusters} clusters were found: too "
            "few samples are distinct up to their scale. Lower n_clusters.",
            ConvergenceWarning,
        )

    def _report_disconnection(self, components):
        if len(components) > self.n_clusters:
            sizes = [len(group) for group in components]
            warn(
                f"The affinity graph has {len(sizes)} connected components, more than "
                f"n_clusters={self.n_clusters}; their sizes are {sizes[:5]}"
                f"{' ...' if len(sizes) > 5 else ''}. They are merged by their coding "
                "length; a larger n_neighbors connects the graph better.",
                UserWarning,
            )

    def _report_end(self, labels):
        n_found = len(np.unique(labels))
        if 1 < self.max_clusters == n_found:
            warn(
                f"The coding length is least at the largest number of clusters tried, "
                f"max_clusters={self.max_clusters}; raise it.",
                ConvergenceWarning,
            )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
