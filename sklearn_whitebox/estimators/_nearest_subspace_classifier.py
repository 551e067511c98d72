"""Classify samples by one subspace per class."""

from numbers import Integral, Real

import numpy as np
from scipy.special import log_softmax
from sklearn.base import (
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox._array import as_numpy, check_memory, restore, validate_array
from sklearn_whitebox._compat import Interval, StrOptions, _check_sample_weight
from sklearn_whitebox._threads import serial_blas
from sklearn_whitebox.estimators._base import WhiteboxEstimator, all_or_nothing
from sklearn_whitebox.estimators._export_closed import subspaces_module
from sklearn_whitebox.estimators._moment_blocks import gather_moments
from sklearn_whitebox.solvers._incremental_coding import add_moments, class_moments
from sklearn_whitebox.solvers._left_out_subspaces import LeftOutSubspaces
from sklearn_whitebox.solvers._nearest_subspace import (
    class_directions,
    class_variances,
    energy_ranks,
    squared_residuals,
)
from sklearn_whitebox.solvers._weighted_rows import merge_equal_rows

# Samples by which ranks and the temperature are chosen, and their product with the
# number of classes, which bounds the work.
_MOST_JUDGES, _FEWEST_JUDGES, _JUDGED_CLASSES = 2000, 200, 100_000

# Weight of a class below which left-out samples have no meaning.
_LEAST_WEIGHT = 0.1

# Dimension of subspaces in the published evaluations of rate reduction.
_PUBLISHED_RANK = 30


class NearestSubspaceClassifier(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClassifierMixin,
    WhiteboxEstimator,
):
    r"""Classify samples by the nearest of the subspaces of the classes.

    The subspace of a class is spanned by the leading singular vectors of its samples,
    not centred, so it passes through the origin. That fits features whose classes are
    orthogonal subspaces, which maximal rate reduction makes, and images under changing
    light. The dimensions are chosen by samples left out one at a time, in closed form.

    Read more in the :ref:`User Guide <nearest_subspace>`.

    Parameters
    ----------
    n_components : int, float, "auto" or None, default="auto"
        Dimension of the subspaces. An int is the same for all classes, lowered where a
        class has a smaller rank; a float in (0, 1] is the share of the squared norm of
        each class that is kept. ``"auto"`` compares both for ranks up to 48 and
        takes the smallest subspaces within half a standard error of the best accuracy
        on samples left out. None is the rule of published evaluations,
        ``min(30, n_features // n_classes)``. One direction of space always stays free.
    centered : bool, default=False
        Whether the mean of each class is subtracted first, so that subspaces need not
        pass through the origin.
    criterion : {"coding_length", "residual"}, default="coding_length"
        What a sample costs under a class. ``"coding_length"``: the nats to code it with
        the Gaussian of the class, whose variance outside the subspace is the same for
        all classes. ``"residual"``: its squared distance to the subspace only, so that
        the nearest one wins; the same where the noise is small.
    priors : {"uniform", "empirical"} or array-like, default="uniform"
        Probabilities of the classes: equal, their shares of the training samples, or
        one for each class in the order of `classes_`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    class_count_ : ndarray of shape (n_classes,)
        Sum of the sample weights of each class.
    class_prior_ : ndarray of shape (n_classes,)
        Probabilities of the classes.
    means_ : ndarray of shape (n_classes, n_features)
        Means of the classes; zero unless `centered`.
    factors_ : list of ndarray of shape (rank, n_features)
        Orthogonal rows whose products sum to the second moment of each class, from
        which :meth:`partial_fit` goes on.
    ranks_ : ndarray of shape (n_classes,)
        Dimensions of the subspaces.
    bases_ : list of ndarray of shape (rank, n_features)
        Orthonormal rows that span the subspace of each class, the strongest first.
    spectra_ : list of ndarray of shape (n_values,)
        All singular values of the samples of each class in falling order.
    noise_variance_ : float
        Mean squared distance, per direction, of left-out samples to their subspaces.
    temperature_ : float
        By which costs are divided to give probabilities; of the largest likelihood of
        the classes of samples left out.
    rank_path_ : dict of str to ndarray
        For ``n_components="auto"``: the ``"ranks"`` compared and their ``"accuracy"``
        on samples left out; otherwise empty.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit, if they were all strings.

    See Also
    --------
    CodingLengthClassifier : Keeps all directions of a class and weighs them.
    RateReductionEmbedding : Makes features whose classes are subspaces.

    Notes
    -----
    Fitting costs :math:`O(\sum_k n_k d \min(n_k, d))` time for the second moments and
    O(m d r) for the choice of ranks by m ≤ 2000 samples. These are picked by a hash of
    their values, so neither their order nor the parts in which they come matter, and
    :meth:`partial_fit` gives the model of all samples up to rounding. Predicting costs
    O(d r) a sample for subspaces of r dimensions in total. The model takes
    :math:`O(\sum_k d \min(n_k, d))` memory.

    References
    ----------
    .. [1] Yu, Chan, You, Song, Ma (2020). Learning diverse and discriminative
       representations via the principle of maximal coding rate reduction. NeurIPS.
    .. [2] Basri, Jacobs (2003). Lambertian reflectance and linear subspaces. IEEE TPAMI
       25(2).

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_whitebox import NearestSubspaceClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = NearestSubspaceClassifier().fit(X[::2], y[::2])
    >>> model.score(X[1::2], y[1::2]) > 0.97
    True
    """

    _parameter_constraints: dict = {  # noqa: RUF012
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="right"),
            StrOptions({"auto"}),
            None,
        ],
        "centered": ["boolean"],
        "criterion": [StrOptions({"residual", "coding_length"})],
        "priors": [StrOptions({"uniform", "empirical"}), "array-like"],
    }

    def __init__(
        self,
        n_components="auto",
        *,
        centered=False,
        criterion="coding_length",
        priors="uniform",
    ):
        self.n_components = n_components
        self.centered = centered
        self.criterion = criterion
        self.priors = priors

    @all_or_nothing()
    def fit(self, X, y, sample_weight=None):
        """Find the subspaces of the classes.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            How many times each sample counts.

        Returns
        -------
        self : NearestSubspaceClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            If all weights are zero, `priors` do not fit the classes, or the second
            moments are too large for the memory budget.
        """
        return self._learn(X, y, sample_weight, classes=None, first=True)

    @all_or_nothing()
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Add samples to the classes, as if they had been there all along.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,)
            Class labels.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come; needed at the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            How many times each sample counts.

        Returns
        -------
        self : NearestSubspaceClassifier
            The fitted estimator, the same for any parts of the samples. Classes
            without samples so far are never predicted.

        Raises
        ------
        ValueError
            If `classes` is missing at the first call, differs later, or lacks a label.
        """
        first = not hasattr(self, "classes_")
        if first and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if not first and classes is not None:
            same = np.array_equal(np.unique(classes), self.classes_)
            if not same:
                raise ValueError(
                    f"classes={classes!r} is not the same as on the last call to "
                    f"partial_fit, {self.classes_!r}."
                )
        known = np.unique(classes) if first else self.classes_
        return self._learn(X, y, sample_weight, classes=known, first=first)

    @all_or_nothing()
    def fit_blocks(self, blocks, classes=None):
        """Find the subspaces of the classes of samples that do not fit in memory.

        Sums of second moments of chunks are added in float64, in their order: how the
        samples are divided into blocks and the backend of joblib change nothing.
        The model is
        that of `fit` up to rounding. See :ref:`scaling`.

        Parameters
        ----------
        blocks : iterable of blocks, pair of arrays, or pair of dask arrays
            Blocks are pairs of shapes (n_rows, n_features) and (n_rows,), or functions
            without arguments that load them. A pair of arrays is cut by rows.
        classes : array-like of shape (n_classes,), default=None
            All labels; None looks for them in a pass of its own. With them an iterator
            will do that can be read only once.

        Returns
        -------
        self : NearestSubspaceClassifier
            The fitted estimator. ``partial_fit`` goes on from here.

        Raises
        ------
        TypeError
            If `blocks` can be read only once and `classes` is not given.
        ValueError
            If a block does not fit the others, a label is not in `classes`, or the
            second moments are too large for the memory budget.
        """
        return self._learn_blocks(blocks, classes)

    def _learn_blocks(self, blocks, classes):
        found = gather_moments(
            self, blocks, classes, code_mean=self.centered, size=_count_judges
        )
        judges = (found.X, found.target, found.weights)
        return self._conclude(found.moments, judges, found.classes)

    def _learn(self, X, y, sample_weight, *, classes, first):
        X, y = validate_array(self, X, y, reset=first, power=2)
        check_classification_targets(y)
        weights = np.ones(len(X))
        if sample_weight is not None:
            weights = _check_sample_weight(
                as_numpy(sample_weight), X, dtype=np.float64, ensure_non_negative=True
            )
            # Absent and weightless samples are the same, also as to their labels.
            kept = weights > 0
            X, y, weights = X[kept], y[kept], weights[kept]
            if len(X) == 0:
                raise ValueError("sample_weight is zero for every sample.")
        classes = np.unique(y) if classes is None else classes
        target = np.searchsorted(classes, y).clip(max=len(classes) - 1)
        if (classes[target] != y).any():
            strange = np.setdiff1d(y, classes)
            raise ValueError(f"y has labels {strange!r} that are not in classes.")
        self._check_size(np.bincount(target, minlength=len(classes)), X.shape[1])
        old = None if first else self._moments()
        judges = (X, target, weights)
        if not first:
            seen = self._judges
            dtype = np.result_type(X, seen[0])
            judges = (
                np.concatenate([seen[0].astype(dtype), X.astype(dtype)]),
                np.concatenate([seen[1], target]),
                np.concatenate([seen[2], weights]),
            )
        with serial_blas():
            moments = self._add(X, target, weights, len(classes), old)
        return self._conclude(moments, judges, classes)

    def _conclude(self, moments, judges, classes):
        """Settle the model by the moments and some samples, and store it."""
        with serial_blas():
            counts = np.array([count for count, _, _ in moments])
            light = np.flatnonzero((counts > 0) & (counts < _LEAST_WEIGHT))
            if len(light):
                raise ValueError(
                    f"sample_weight of class {classes.tolist()[light[0]]!r} sums to "
                    f"{counts[light[0]]:.1e}; weights count samples, so scale them "
                    "until the sum is about the number of samples of the class."
                )
            prior = self._prior(counts)
            judges = _pick(*judges, len(classes))
            model = self._settle(moments, prior, judges)
        self.classes_ = classes
        self.class_count_ = counts
        self.class_prior_ = prior
        self.means_ = np.stack([mean for _, mean, _ in moments])
        self.factors_ = [factor for _, _, factor in moments]
        self._judges = judges
        for name, value in model.items():
            setattr(self, name, value)
        self._n_features_out = len(classes)
        return self

    def _check_size(self, sizes, n_features):
        entries = np.minimum(sizes, n_features).sum() + sizes.max(initial=0)
        check_memory(
            8.0 * n_features * float(entries + min(n_features, sizes.max(initial=0))),
            what=f"A matrix of {n_features} features for {len(sizes)} classes",
            remedy="reduce the features first, for example with "
            "sklearn.decomposition.PCA or TruncatedSVD",
        )

    def _add(self, X, target, weights, n_classes, old):
        form = {"code_mean": self.centered}
        moments = [
            class_moments(X[target == k], weights[target == k], **form)
            for k in range(n_classes)
        ]
        if old is None:
            return moments
        pairs = zip(old, moments, strict=True)
        return [add_moments(before, more, **form) for before, more in pairs]

    def _moments(self):
        return list(zip(self.class_count_, self.means_, self.factors_, strict=True))

    def _prior(self, counts):
        if isinstance(self.priors, str):
            # Classes that have not come yet are possible for no sample.
            shares = (
                counts if self.priors == "empirical" else (counts > 0).astype(float)
            )
            return shares / shares.sum()
        priors = np.asarray(self.priors, dtype=np.float64)
        if priors.shape != counts.shape:
            raise ValueError(
                f"priors has shape {priors.shape}, but there are {len(counts)} classes."
            )
        if (priors < 0).any() or not np.isclose(priors.sum(), 1):
            raise ValueError(
                f"priors={self.priors!r} must be non-negative and sum to 1."
            )
        return priors

    def _settle(self, moments, prior, judges):
        """Choose ranks and temperature, and list what follows from them."""
        coordinates = self.criterion == "coding_length"
        form = {"code_mean": self.centered}
        ranks, path = None, {}
        if self.n_components != "auto":
            ranks = self._fixed_ranks(moments, judges[0].shape[1])
            form["max_rank"] = int(ranks.max())
        left_out = LeftOutSubspaces(*judges, moments, **form)
        if ranks is None:
            ranks, path = left_out.choose_ranks(coordinates=coordinates)
        lengths, noise = left_out.lengths(ranks, coordinates=coordinates)
        # Absent classes have no lengths to speak of.
        lengths[:, left_out.counts == 0] = lengths.max(initial=0)
        dtype = judges[0].dtype
        found = [
            class_directions(moment, limit=rank)
            for moment, rank in zip(moments, ranks, strict=True)
        ]
        return {
            "ranks_": ranks,
            "rank_path_": path,
            "bases_": [directions.astype(dtype) for _, directions in found],
            "spectra_": [np.sqrt(squares).astype(dtype) for squares, _ in found],
            "noise_variance_": noise,
            "temperature_": left_out.temperature(lengths, _log(prior)),
        }

    def _fixed_ranks(self, moments, n_features):
        spectra = [class_directions(moment, limit=0)[0] for moment in moments]
        most = np.array([min(len(s), n_features - 1) for s in spectra])
        if self.n_components is None:
            rank = max(1, min(_PUBLISHED_RANK, n_features // len(spectra)))
        elif isinstance(self.n_components, Integral):
            rank = self.n_components
        else:
            rank = energy_ranks(spectra, self.n_components)
        return np.minimum(rank, most)

    def _residuals(self, X, *, weigh=False):
        check_is_fitted(self)
        X = validate_array(self, X, reset=False, power=2)
        bases = [basis.astype(X.dtype, copy=False) for basis in self.bases_]
        variances = None
        if weigh and self.criterion == "coding_length":
            variances = self._variances()
        with serial_blas():
            return X.dtype, *squared_residuals(X, self.means_, bases, variances)

    def _variances(self):
        parts = zip(self.spectra_, self.ranks_, self.class_count_, strict=True)
        return [
            class_variances(s.astype(np.float64) ** 2, r, count, self.noise_variance_)
            for s, r, count in parts
        ]

    def _scores(self, X):
        dtype, residuals, inside = self._residuals(X, weigh=True)
        lengths = residuals / self.noise_variance_ + inside
        if self.criterion == "coding_length":
            volumes = [
                np.log(v / self.noise_variance_).sum() for v in self._variances()
            ]
            lengths = lengths + np.array(volumes)
        scores = _log(self.class_prior_) - lengths / (2 * self.temperature_)
        scores[:, self.class_count_ == 0] = -np.inf
        return scores.astype(dtype)

    def transform(self, X):
        """Measure the distances to the subspaces.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        distances : ndarray or Tensor of shape (n_samples, n_classes)
            Norms of the residuals, in the order of `classes_`.
        """
        dtype, residuals, _ = self._residuals(X)
        distances = np.sqrt(residuals).astype(dtype)
        return restore(distances, like=X, estimator=self)

    def decision_function(self, X):
        """Give the logarithms of the probabilities of the classes, up to a constant.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        decision : ndarray or Tensor of shape (n_samples,) or (n_samples, n_classes)
            In nats; for two classes the second minus the first.
        """
        scores = self._scores(X)
        if len(self.classes_) == 2:
            scores = scores[:, 1] - scores[:, 0]
        return restore(scores, like=X)

    def predict(self, X):
        """Predict the class of the nearest subspace, or of the shortest code.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Class labels, from `classes_`; a NumPy array for tensors, too.
        """
        scores = self._scores(X)
        return self.classes_[scores.argmax(axis=1)]

    def predict_log_proba(self, X):
        """Estimate the logarithms of the probabilities of the classes.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        log_probabilities : ndarray or Tensor of shape (n_samples, n_classes)
            See :meth:`predict_proba`.
        """
        return restore(log_softmax(self._scores(X), axis=1), like=X)

    def predict_proba(self, X):
        """Estimate the probabilities of the classes.

        A cost of L nats under a class is a claim of probability exp(-L). The claims are
        tempered by ``temperature_``, under which the classes of samples left out are
        most likely, and normalised.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        probabilities : ndarray or Tensor of shape (n_samples, n_classes)
            Columns in the order of `classes_`; rows sum to one.
        """
        return restore(np.exp(log_softmax(self._scores(X), axis=1)), like=X)

    def build_module(self):
        """Build the fitted model as a module of plain torch.

        Changing it does not change the estimator. What it takes and how to write it as
        ONNX is told in the :ref:`User Guide <export>`.

        Returns
        -------
        module : torch.nn.Module
            On the CPU, in evaluation mode. Its ``forward(X)`` gives what
            :meth:`predict_proba` gives for a tensor of the same rows.
        """
        return subspaces_module(self)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        # Subspaces of one dimension in two do not tell blobs from each other.
        tags.classifier_tags.poor_score = True
        return tags


def _log(probabilities):
    with np.errstate(divide="ignore"):
        return np.log(probabilities)


def _count_judges(n_classes):
    return int(np.clip(_JUDGED_CLASSES // n_classes, _FEWEST_JUDGES, _MOST_JUDGES))


def _pick(X, target, weights, n_classes):
    """Keep the samples of least hash: which ones depends on nothing but the set."""
    labelled = np.column_stack([X, target.astype(X.dtype)])
    first, _, totals = merge_equal_rows(labelled, weights)
    most = _count_judges(n_classes)
    return X[first[:most]], target[first[:most]], totals[:most]
