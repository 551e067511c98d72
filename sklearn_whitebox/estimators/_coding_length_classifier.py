"""Classify samples by the class that codes them in the fewest nats."""

from numbers import Real

import numpy as np
from scipy.special import log_softmax
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox._array import as_numpy, restore, validate_array
from sklearn_whitebox._compat import Interval, StrOptions, _check_sample_weight
from sklearn_whitebox._threads import serial_blas
from sklearn_whitebox.estimators._base import WhiteboxEstimator, all_or_nothing
from sklearn_whitebox.estimators._moment_blocks import gather_moments
from sklearn_whitebox.solvers._incremental_coding import (
    ClassCoder,
    add_moments,
    class_moments,
)

# Distortions that are compared, as shares of the mean squared norm about the mean.
_SHARES = 10.0 ** np.arange(-4, 0.51, 0.25)

# Weight of a class below which its code has no meaning.
_LEAST_WEIGHT = 0.1

# Samples of blocks by which the distortion is chosen.
_MOST_JUDGES = 5000


class CodingLengthClassifier(ClassifierMixin, WhiteboxEstimator):
    r"""Classify samples by minimum incremental coding length.

    Each class is coded as a Gaussian up to an allowed distortion, and a new sample goes
    to the class whose code it lengthens least. The distortion acts as a regulariser:
    directions in which a class varies by less than the distortion do not count. Classes
    may have fewer samples than features.

    Read more in the :ref:`User Guide <coding_length_classification>`.

    Parameters
    ----------
    distortion : float or "auto", default="auto"
        Allowed mean squared error per sample, ε² in [1]_, in squared units of `X`.
        ``"auto"`` takes the distortion with the best accuracy of classes for training
        samples left out one at a time, which has a closed form.
    code_mean : bool, default=True
        Whether classes are coded around their means; otherwise they are subspaces
        through the origin.
    basis_cost : bool, default=True
        Whether the code of the subspace of a class counts, too.
    priors : array-like of shape (n_classes,), default=None
        Probabilities of the classes, in the order of `classes_`; None takes the shares
        of the classes in the training samples.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    class_count_ : ndarray of shape (n_classes,)
        Sum of the sample weights of each class.
    class_prior_ : ndarray of shape (n_classes,)
        Probabilities of the classes.
    means_ : ndarray of shape (n_classes, n_features)
        Means of the classes; zero unless `code_mean`.
    factors_ : list of ndarray of shape (rank, n_features)
        Orthogonal rows whose products sum to the scatter of each class.
    distortion_ : float
        Distortion that is used.
    distortion_path_ : dict of str to ndarray
        For ``distortion="auto"``: the ``"distortion"`` values compared and their
        ``"accuracy"`` on samples left out; otherwise empty.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit, if they were all strings.

    See Also
    --------
    CodingLengthClusterer : Finds clusters by the same measure.

    Notes
    -----
    Fitting costs O(n d min(n_k, d)) time for classes of n_k samples and d features, and
    for ``distortion="auto"`` as much again per class; predicting O(d min(n_k, d)) a
    sample and class. Classes are kept as factors of rank at most min(n_k, d), so that
    many features and few samples need little memory.

    References
    ----------
    .. [1] Wright, Tao, Lin, Shum, Ma (2007). Classification via minimum incremental
       coding length (MICL). NIPS.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_whitebox import CodingLengthClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> CodingLengthClassifier().fit(X[::2], y[::2]).score(X[1::2], y[1::2])
    0.96
    """

    _parameter_constraints: dict = {  # noqa: RUF012
        "distortion": [
            Interval(Real, 0, None, closed="neither"),
            StrOptions({"auto"}),
        ],
        "code_mean": ["boolean"],
        "basis_cost": ["boolean"],
        "priors": ["array-like", None],
    }

    def __init__(
        self, *, distortion="auto", code_mean=True, basis_cost=True, priors=None
    ):
        self.distortion = distortion
        self.code_mean = code_mean
        self.basis_cost = basis_cost
        self.priors = priors

    @all_or_nothing()
    def fit(self, X, y, sample_weight=None):
        """Summarise the classes, and choose the distortion if that is asked.

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
        self : CodingLengthClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            If all weights are zero, or `priors` do not fit the classes.
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
        self : CodingLengthClassifier
            The fitted estimator. ``distortion="auto"`` is settled at the first call.

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
        """Fit samples that do not fit in memory.

        Sums of second moments of chunks are added in float64, in their order: how the
        samples are divided into blocks and the backend of joblib change nothing.
        The model is
        that of `fit` up to rounding, but ``distortion="auto"`` is settled by at most
        5,000 samples, which a hash of their values picks. See :ref:`scaling`.

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
        self : CodingLengthClassifier
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
            self, blocks, classes, code_mean=self.code_mean, size=_MOST_JUDGES
        )
        rows = (found.X, found.target, found.weights)
        return self._conclude(found.moments, rows, found.classes, first=True)

    def _learn(self, X, y, sample_weight, *, classes, first):
        X, y = validate_array(self, X, y, reset=first, power=2)
        check_classification_targets(y)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                as_numpy(sample_weight), X, dtype=np.float64, ensure_non_negative=True
            )
            # Absent and weightless samples are the same, also as to their labels.
            kept = sample_weight > 0
            X, y, sample_weight = X[kept], y[kept], sample_weight[kept]
            if len(X) == 0:
                raise ValueError("sample_weight is zero for every sample.")
        classes = np.unique(y) if classes is None else classes
        target = np.searchsorted(classes, y).clip(max=len(classes) - 1)
        if (classes[target] != y).any():
            strange = np.setdiff1d(y, classes)
            raise ValueError(f"y has labels {strange!r} that are not in classes.")
        weights = np.ones(len(X)) if sample_weight is None else sample_weight
        with serial_blas():
            moments = [
                class_moments(
                    X[target == k], weights[target == k], code_mean=self.code_mean
                )
                for k in range(len(classes))
            ]
            if not first:
                moments = [
                    add_moments(old, new, code_mean=self.code_mean)
                    for old, new in zip(self._moments(), moments, strict=True)
                ]
        return self._conclude(moments, (X, target, weights), classes, first=first)

    def _conclude(self, moments, rows, classes, *, first):
        """Settle the distortion by the moments and rows, and store the model."""
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
            if first:
                distortion, path = self._choose_distortion(*rows, moments, prior)
            else:
                distortion, path = self.distortion_, self.distortion_path_
        self.classes_ = classes
        self.class_count_ = counts
        self.class_prior_ = prior
        self.means_ = np.stack([mean for _, mean, _ in moments])
        self.factors_ = [factor for _, _, factor in moments]
        self.distortion_ = distortion
        self.distortion_path_ = path
        return self

    def _moments(self):
        return list(zip(self.class_count_, self.means_, self.factors_, strict=True))

    def _prior(self, counts):
        if self.priors is None:
            return counts / counts.sum()
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

    def _choose_distortion(self, X, target, weights, moments, prior):
        if self.distortion != "auto":
            return float(self.distortion), {}
        centre = weights @ X.astype(np.float64) / weights.sum()
        gaps = X - centre
        reference = weights @ np.einsum("ij,ij->i", gaps, gaps) / weights.sum()
        if not reference > 0:
            return 1.0, {}
        distortions = reference * _SHARES
        accuracy = _left_out_accuracy(
            X, target, weights, moments, prior, distortions, self._options()
        )
        # Single samples make steps in the curve; its neighbours tell them from trends.
        padded = np.pad(accuracy, 1, mode="edge")
        smooth = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
        best = np.flatnonzero(smooth >= smooth.max() - 1e-9)
        chosen = distortions[best[len(best) // 2]]
        return float(chosen), {"distortion": distortions, "accuracy": accuracy}

    def _options(self):
        return {"code_mean": self.code_mean, "basis_cost": self.basis_cost}

    def _scores(self, X):
        check_is_fitted(self)
        X = validate_array(self, X, reset=False, power=2)
        with serial_blas():
            increments = [
                ClassCoder(X, *moments, **self._options()).increments(self.distortion_)
                for moments in self._moments()
            ]
        scores = _log(self.class_prior_) - np.stack(increments, axis=1)
        return scores.astype(X.dtype)

    def decision_function(self, X):
        """Give the negative incremental coding lengths of the classes, with priors.

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
        """Predict the class that codes each sample in the fewest nats.

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

        A code of L nats is a claim of probability exp(-L). These claims, normalised,
        are what is returned; they are those of Gaussians and no more calibrated.

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


def _log(probabilities):
    with np.errstate(divide="ignore"):
        return np.log(probabilities)


def _left_out_accuracy(X, target, weights, moments, prior, distortions, options):
    """Share of weight classified rightly by classes without the sample itself."""
    scores = np.empty((len(distortions), len(X), len(moments)), np.float32)
    for k, own_moments in enumerate(moments):
        coder = ClassCoder(X, *own_moments, **options)
        own = np.flatnonzero(target == k)
        if len(own):
            own_coder = ClassCoder(X[own], *own_moments, **options)
        for t, distortion in enumerate(distortions):
            scores[t, :, k] = _log(prior[k]) - coder.increments(distortion)
            if len(own):
                amount = np.minimum(weights[own], 1.0)
                decrements = own_coder.decrements(distortion, amount)
                scores[t, own, k] = _log(prior[k]) - decrements
    right = scores.argmax(axis=2) == target
    return right @ weights / weights.sum()
