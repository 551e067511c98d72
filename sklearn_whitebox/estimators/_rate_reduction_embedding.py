"""Supervised embedding that maximises the rate reduction between classes."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox._array import as_numpy, restore, validate_array
from sklearn_whitebox._compat import Interval, StrOptions
from sklearn_whitebox.estimators._base import WhiteboxEstimator, all_or_nothing
from sklearn_whitebox.estimators._embedding_fitting import train_embedding
from sklearn_whitebox.estimators._embedding_inputs import (
    gather_rows,
    split_labels,
)
from sklearn_whitebox.estimators._embedding_network import normalized, raw_features
from sklearn_whitebox.estimators._embedding_stream import learn_block
from sklearn_whitebox.estimators._export_encoders import embedding_module
from sklearn_whitebox.estimators._stream_blocks import learn_passes
from sklearn_whitebox.functional import coding_rate, rate_reduction


def _has_inverse(estimator):
    if estimator.encoder != "linear":
        raise AttributeError(
            "inverse_transform needs encoder='linear'; other encoders have no inverse."
        )
    return True


class RateReductionEmbedding(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, WhiteboxEstimator
):
    r"""Embed rows by maximal coding rate reduction (MCR²).

    Learns features on the unit sphere in which every class fills a low-dimensional
    subspace of its own and the subspaces are orthogonal to each other. The objective is
    the rate reduction

    .. math:: \Delta R = \tfrac12\log\det\bigl(I + \tfrac{d}{n\epsilon^2}Z^\top Z\bigr)
       - \sum_k \tfrac{n_k}{2n}\log\det\bigl(I + \tfrac{d}{n_k\epsilon^2}Z_k^\top Z_k
       \bigr),

    the nats per sample that are saved by coding the classes apart. Use it before a
    nearest-neighbour, nearest-subspace or linear classifier, like
    :class:`~sklearn.discriminant_analysis.LinearDiscriminantAnalysis` as a transformer,
    without its limit of ``n_classes - 1`` dimensions.

    Read more in the :ref:`User Guide <rate_reduction_embedding>`.

    Parameters
    ----------
    n_components : int, default=None
        Dimension d of the features. None means ``max(2 * n_classes,
        min(n_features, 32))``, at most 128, or ``min(n_features, 128)`` without
        labels. With fewer dimensions than classes orthogonal classes are impossible.
    encoder : {"mlp", "linear"} or callable, default="mlp"
        Network before the sphere. ``"linear"`` starts from whitened principal
        components, of the second moments if `standardize` is False. A callable gets
        ``(n_features, n_components)`` and returns a :class:`torch.nn.Module` that maps
        (n, n_features) to (n, n_components) in float32; it must build the same
        architecture whenever it is called, and be importable for pickling. Its initial
        weights are its own affair.
    hidden_layer_sizes : int, sequence of int or "auto", default="auto"
        Widths of the hidden layers of ``encoder="mlp"``, each with batch normalisation
        and ReLU. ``"auto"`` is ``(256, 256)``, and ``(1024, 512)`` for more than 20,000
        rows.
    normalize : {"sphere", "frobenius"} or None, default="sphere"
        Every row of features to unit norm, or every class to a mean squared norm of
        one in training and all rows by one stored factor in `transform`. None leaves
        the features free and penalises their norm by `feature_penalty`.
    distortion : float, default=0.5
        Allowed mean squared error ε² of the code, for features of unit norm. Larger
        values make the classes more compact, smaller ones spread them out.
    objective : str, default="supervised"
        Where classes come from: ``"supervised"``, ``"semi_supervised"`` or
        ``"self_supervised"``. With ``"semi_supervised"`` a label of -1 (or the string
        "-1") says that a row has none; such rows spread the features of all. With
        ``"self_supervised"`` the views of a row are a class and `y` is ignored.
    augment : {"auto"} or callable or None, default="auto"
        How training rows are altered anew in every batch. With labels, ``"auto"``
        moves a row towards another one of its class, at most half of the way and less
        the more rows there are than 1,000, and adds noise of a tenth of the deviation.
        Where columns share a scale, as pixels do, the noise is ``sqrt(n_features) /
        50`` between 0.1 and 0.3, and beyond 20,000 rows a fifth of the entries is
        replaced by the mean. A callable gets rows as they were passed to `fit` and a
        :class:`numpy.random.Generator`, and returns as many changed rows. None leaves
        the rows as they are.
        With ``objective="self_supervised"`` this makes the views, and None is refused:
        ``"auto"`` adds noise of a tenth of the deviation of each column and replaces a
        tenth of the entries by the mean; with `input_shape` it shifts and crops images.
    n_views : int, default=8
        Views of a row in a batch, the row itself being the first.
    input_shape : tuple of int, default=None
        (H, W) or (C, H, W) of rows that are flattened images.
    feature_penalty : float or "auto", default="auto"
        Weight λ of half the squared norm of all features, for ``normalize=None`` only.
        ``"auto"`` is half of the largest admissible one, see
        :func:`~sklearn_whitebox.functional.max_feature_penalty`.
    class_weight : dict, "balanced" or None, default=None
        Factors of the weights of the rows of each class. ``"balanced"`` lets all
        classes count the same.
    standardize : bool or "auto", default="auto"
        Centre the inputs and scale them to unit variance first; ``"auto"`` gives all
        columns one common scale if their ranges are comparable, like grey values.
    batch_size : int or None, default="auto"
        Rows of a stratified batch; None takes all rows at once. ``"auto"`` is
        ``max(256, 8 * n_components, 20 * n_classes)``, at least 1,000 for more than
        20,000 rows or without labels: rates of small batches are biased, because a few
        rows per class look low-dimensional whatever they are.
    learning_rate : float, default="auto"
        Peak learning rate of AdamW, after a short warm-up and before a cosine decay to
        zero. ``"auto"`` is 5e-3, and 1e-2 for ``encoder="linear"``.
    weight_decay : float, default=0.1
        Decoupled weight decay of the weight matrices.
    max_iter : int or "auto", default="auto"
        Passes over the data, all of them done unless `early_stopping`. ``"auto"`` is
        20, or more until there are 400 steps over all rows or 600 over batches.
    early_stopping : bool, default=False
        Hold out a stratified part of the data, stop when its rate reduction no longer
        improves, and keep the best weights.
    validation_fraction : float, default=0.1
        Share of the rows held out for early stopping.
    n_iter_no_change : int, default=20
        Passes without improvement after which early stopping stops.
    device : str or torch.device, default="auto"
        Where to train: ``"cpu"``, ``"cuda"``, … ``"auto"`` takes CUDA if there is one
        and the work is more than about ten billion multiply-adds. The fitted model is
        on no device; where a named CUDA device is missing it encodes on the CPU.
    random_state : int, RandomState instance or None, default=None
        Determines initial weights, order of rows and held-out rows.
    verbose : int, default=0
        Log every tenth of the passes (1) or every pass (2), and at the end the rate
        reduction with its bound.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels seen; empty for ``objective="self_supervised"``, which leaves out the
        attributes of classes below.
    class_sizes_ : ndarray of shape (n_classes,)
        Weight of the rows of each class; their mean over all distinct rows is one.
    n_components_ : int
        Dimension of the features.
    rate_reduction_ : float
        Rate reduction of the training features that have labels, in nats per sample;
        for ``objective="self_supervised"`` that of the views of up to 1,000 rows.
    rate_reduction_bound_ : float
        What it can be at most with these class sizes, dimension and distortion, if
        every class has a mean squared norm of one; infinite for ``normalize=None``.
    coding_rate_ : float
        Coding rate of all training features, in nats per sample.
    conditional_coding_rate_ : float
        Mean coding rate of the classes, or of the views of a row, in nats per sample;
        small when they are compact.
    class_bases_ : list of ndarray of shape (min(n_k, n_components), n_components)
        Orthonormal principal directions of each class's features, strongest first.
    class_spectra_ : list of ndarray of shape (min(n_k, n_components),)
        Singular values of each class's features.
    class_angles_ : ndarray of shape (n_classes, n_classes)
        Mean principal angles, in degrees, between the directions that hold 95 % of the
        squared norm of two classes; 90 where they are orthogonal.
    feature_penalty_ : float
        Penalty used; zero unless ``normalize=None``.
    feature_scale_ : float
        Factor of all features; one unless ``normalize="frobenius"``.
    loss_curve_ : list of float
        Minus the rate reduction of the batches, mean of every pass.
    validation_curve_ : list of float
        Minus the rate reduction of the held-out rows; empty without early stopping.
        Rates of different sample sizes cannot be compared with each other.
    n_iter_ : int
        Passes done.
    best_iteration_ : int
        Pass, from 1, whose weights were kept.
    weights_ : dict of str to ndarray
        Weights of the encoder.
    mean_ : ndarray of shape (n_features,)
        Means subtracted.
    scale_ : ndarray of shape (n_features,)
        Scales divided by.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if `X` had any.

    See Also
    --------
    sklearn.discriminant_analysis.LinearDiscriminantAnalysis : Linear projection that
        separates class means.
    sklearn.neighbors.NeighborhoodComponentsAnalysis : Linear metric for neighbours.

    Notes
    -----
    A pass costs O(n p h + n d² + K d³) time for p inputs, h hidden units and K classes;
    memory is that of a float32 copy of `X` and of the activations of one batch, at
    least 16 384 rows of it at the end. Training is bitwise reproducible for a given
    `random_state` on one machine with one number of threads. Equal rows of a class are
    merged, so weights do the same as copies, and the order of rows does not matter; the
    batch statistics of a network built by a callable know no weights.

    References
    ----------
    .. [1] Yu, Chan, You, Song, Ma (2020). Learning diverse and discriminative
       representations via the principle of maximal coding rate reduction. NeurIPS.
    .. [2] Buchanan, Pai, Wang, Ma. Principles and Practice of Deep Representation
       Learning, chapter 3 (arXiv 2606.06624).

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_whitebox import RateReductionEmbedding
    >>> X, y = load_wine(return_X_y=True)
    >>> model = make_pipeline(
    ...     RateReductionEmbedding(6, max_iter=50, random_state=0),
    ...     KNeighborsClassifier(),
    ... )
    >>> model.fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.9
    True
    """

    _parameter_constraints: dict = {  # noqa: RUF012
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "encoder": [StrOptions({"mlp", "linear"}), callable],
        "hidden_layer_sizes": [
            "array-like",
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "normalize": [StrOptions({"sphere", "frobenius"}), None],
        "distortion": [Interval(Real, 0, None, closed="neither")],
        "objective": [StrOptions({"supervised", "semi_supervised", "self_supervised"})],
        "augment": [StrOptions({"auto"}), callable, None],
        "n_views": [Interval(Integral, 2, None, closed="left")],
        "input_shape": [tuple, list, None],
        "feature_penalty": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "standardize": ["boolean", StrOptions({"auto"})],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 2, None, closed="left"),
            None,
        ],
        "learning_rate": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "max_iter": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_components=None,
        *,
        encoder="mlp",
        hidden_layer_sizes="auto",
        normalize="sphere",
        distortion=0.5,
        objective="supervised",
        augment="auto",
        n_views=8,
        input_shape=None,
        feature_penalty="auto",
        class_weight=None,
        standardize="auto",
        batch_size="auto",
        learning_rate="auto",
        weight_decay=0.1,
        max_iter="auto",
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=20,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.encoder = encoder
        self.hidden_layer_sizes = hidden_layer_sizes
        self.normalize = normalize
        self.distortion = distortion
        self.objective = objective
        self.augment = augment
        self.n_views = n_views
        self.input_shape = input_shape
        self.feature_penalty = feature_penalty
        self.class_weight = class_weight
        self.standardize = standardize
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self.objective != "self_supervised"
        tags.target_tags.multi_output = False
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.non_deterministic = False
        return tags

    @all_or_nothing()
    def fit(self, X, y=None, sample_weight=None):
        """Learn the embedding.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,), default=None
            Class labels, at least two different ones. Needed unless
            ``objective="self_supervised"``.
        sample_weight : array-like of shape (n_samples,), default=None
            How many times each row counts.

        Returns
        -------
        self : RateReductionEmbedding
            The fitted embedding.

        Raises
        ------
        ValueError
            If there are fewer than two classes, weights or parameters do not fit the
            data, or training diverges.
        """
        X, classes, labels = self._read(X, y, reset=True)
        rows = gather_rows(
            X, labels, classes, sample_weight, self.class_weight, present=True
        )
        self.__dict__.pop("_stream", None)
        train_embedding(self, rows)
        return self

    @all_or_nothing()
    def partial_fit(self, X, y=None, classes=None, sample_weight=None):
        """Take a pass of steps over a block of rows, from where training stands.

        Rows of all classes that came before, at most 2,000, are kept and replayed: a
        block without some classes would unlearn them. After `fit`, the second moments
        of its classes stand for its rows.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,), default=None
            Class labels, as in `fit`.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come; None takes those of the first block.
        sample_weight : array-like of shape (n_samples,), default=None
            How many times each row counts.

        Returns
        -------
        self : RateReductionEmbedding
            The embedding after these steps.

        Raises
        ------
        ValueError
            If `classes` has fewer than two labels, differs later, or lacks a label.
        """
        return learn_block(self, X, y, classes, sample_weight)

    @all_or_nothing()
    def fit_blocks(self, blocks, *, n_passes=1):
        """Learn from rows that do not fit in memory.

        Scales and the first weights are settled by some thousand rows, which a hash of
        their values picks from all blocks; then :meth:`partial_fit` takes `n_passes`
        passes over chunks of a fixed number of rows, so that it does not matter how
        they are divided into blocks. Shuffle rows when they are written: a chunk in
        which all are alike teaches little. See :ref:`scaling`.

        Parameters
        ----------
        blocks : iterable of blocks, ndarray, or pair of arrays
            Blocks are pairs of shapes (n_rows, n_features) and (n_rows,), without
            labels if self-supervised, or functions without arguments that load them;
            read anew in each pass. Arrays are cut by rows.
        n_passes : int, default=1
            Passes over all rows.

        Returns
        -------
        self : RateReductionEmbedding
            The fitted estimator.

        Raises
        ------
        TypeError
            If `blocks` can be read only once.
        ValueError
            If a block does not fit the others.
        """
        labelled = self.objective != "self_supervised"
        partly = self.objective == "semi_supervised"
        return learn_passes(
            self,
            blocks,
            labelled=labelled,
            n_passes=n_passes,
            choose_classes=(
                (lambda labels: split_labels(labels, partly=partly)[0])
                if labelled
                else None
            ),
        )

    def _read(self, X, y, *, reset, least=2):
        """Validate rows and number their labels."""
        checks = {"reset": reset, "ensure_min_samples": least, "power": 2}
        if self.objective == "self_supervised":
            X = validate_array(self, X, **checks)
            return X, np.empty(0), np.full(len(X), -1)
        X, y = validate_array(self, X, y, **checks)
        partly = self.objective == "semi_supervised"
        return X, *split_labels(y, partly=partly)

    def transform(self, X):
        """Encode rows.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        Z : ndarray or Tensor of shape (n_samples, n_components)
            Features, of unit norm if they are normalised to the sphere, each row
            computed from its own input alone, in the floating type of `X`.
        """
        check_is_fitted(self)
        rows = validate_array(self, X, reset=False, power=2)
        Z = normalized(self, raw_features(self, rows)).astype(rows.dtype, copy=False)
        return restore(Z, like=X, estimator=self)

    def build_module(self):
        """Build the fitted model as a module of plain torch.

        Changing it does not change the estimator. What it takes, how to train it
        further and how to write it as ONNX is told in the :ref:`User Guide <export>`.

        Returns
        -------
        module : torch.nn.Module
            On the CPU, in evaluation mode. Its ``forward(X)`` gives what
            :meth:`transform` gives for a tensor of the same rows.
        """
        return embedding_module(self)

    @available_if(_has_inverse)
    def inverse_transform(self, Z):
        """Map features back to inputs, approximately; only for ``encoder="linear"``.

        The sphere forgets the length of a row, so rows get the mean length of those
        seen in training, and of the inputs that encode to `Z` those of least norm are
        returned. Encoding them gives `Z` back if the map is onto.

        Parameters
        ----------
        Z : array-like or Tensor of shape (n_samples, n_components)
            Features.

        Returns
        -------
        X : ndarray or Tensor of shape (n_samples, n_features)
            Inputs, in the floating type of `Z`.
        """
        check_is_fitted(self)
        given = Z
        Z = check_array(as_numpy(Z), dtype=[np.float64, np.float32], input_name="Z")
        if Z.shape[1] != self.n_components_:
            raise ValueError(
                f"Z must have shape (n_samples, {self.n_components_}), got {Z.shape}."
            )
        W, b = self.weights_["0.weight"], self.weights_["0.bias"]
        length = self._typical_norm if self._sphere else 1 / self.feature_scale_
        rows = (Z * length - b) @ np.linalg.pinv(W).T
        X = (rows * self.scale_ + self.mean_).astype(Z.dtype, copy=False)
        return restore(X, like=given)

    def score(self, X, y=None):
        """Rate reduction of the features of `X`, in nats per sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,), default=None
            Class labels. Without any the coding rate of all rows is returned, else
            rows marked as without label are left out.

        Returns
        -------
        reduction : float
            The larger, the better. Depends on the number of rows, so compare it on the
            same data only.
        """
        check_is_fitted(self)
        if y is None:
            rows = validate_array(self, X, reset=False, power=2)
            labels = np.full(len(rows), -1)
        else:
            rows, y = validate_array(self, X, y, reset=False, power=2)
            partly = self.objective == "semi_supervised"
            _, labels = split_labels(y, partly=partly)
        Z = normalized(self, raw_features(self, rows)).astype(np.float64)
        known = labels >= 0
        if not known.any():
            return coding_rate(Z, distortion=self.distortion)
        return rate_reduction(Z[known], labels[known], distortion=self.distortion)

    @property
    def _n_features_out(self):
        return self.n_components_
