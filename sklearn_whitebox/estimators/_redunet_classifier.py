"""Classifier whose layers are steps up the rate reduction, without back-propagation."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from sklearn_whitebox._array import validate_array
from sklearn_whitebox._compat import HasMethods, Interval, StrOptions
from sklearn_whitebox.estimators._base import WhiteboxEstimator, all_or_nothing
from sklearn_whitebox.estimators._redunet_blocks import build_from_blocks
from sklearn_whitebox.estimators._redunet_construction import ReduNetConstruction
from sklearn_whitebox.estimators._redunet_fitting import drop_weightless


class ReduNetClassifier(ReduNetConstruction, WhiteboxEstimator):
    r"""Classify by layers that maximise the rate reduction, without back-propagation.

    Each layer is one step of projected gradient ascent on the rate reduction of the
    features that enter it: an expansion of all features and a compression of each
    class, both inverses of second moments. So layers are built one after the other from
    the data, in closed form, and every number in them has a meaning. After the last
    layer, classes lie in nearly orthogonal subspaces, and a sample goes to the class
    whose code it lengthens least.

    With `input_shape`, operators are circular convolutions, worked out frequency by
    frequency: features of a shifted signal or image are the shifted features, and
    classes do not depend on shifts at all.

    Read more in the :ref:`User Guide <redunet>`.

    Parameters
    ----------
    n_layers : int, default=50
        Most layers; see `tol`.
    distortion : float or "auto", default="auto"
        Allowed mean squared error per sample, ε² in [1]_, of features of unit norm; 0.1
        there. ``"auto"`` takes the largest of five between 0.01 and 1 whose accuracy
        on samples left out is within a standard error of the best, together with
        `lift`.
    step_size : float, default=0.5
        Step of each layer.
    step_mode : {"relative", "absolute"}, default="relative"
        Whether `step_size` is ηα, at most one, or the η of [1]_. Absolute steps beyond
        ηα = 2 overshoot, which happens if features are many and samples are few.
    membership : {"estimated", "labels"}, default="estimated"
        What moves the training features: estimated classes, as for new samples, or the
        labels. Labels separate the training features and nothing else; they are for
        diagnosis only.
    membership_temperature : float or "auto", default="auto"
        Factor λ of the residuals whose softmax estimates the classes. ``"auto"`` takes
        fifty over the median of the smallest ones, layer by layer.
    balance_membership : bool, default=True
        Whether the residuals are compared without the scales of the classes, which
        favour large ones.
    lift : {"auto", "bias", "random_relu"}, transformer or None, default="auto"
        What is done to the samples first, since a class must be close to a subspace
        through the origin:

        - None leaves them as they are;
        - ``"bias"`` standardises the features and appends a constant;
        - ``"random_relu"`` makes `n_channels` random rectified features of the
          standardised ones, or for signals random circular filters;
        - an object with `fit` and `transform` is cloned and fitted;
        - ``"auto"`` takes the first of these three whose accuracy is within a standard
          error of the best, for coding lengths on training samples left out one at a
          time, which have a closed form.
    n_channels : int, default=None
        Random features or filters. None takes eight times the number of features, but
        at least 128, and at most 256 and half the number of samples; 20 for signals and
        32 for images. More are better and slower.
    kernel_size : int or tuple of int, default=5
        Length of the random filters along each axis that shifts.
    input_shape : tuple of int, default=None
        ``(channels, length)`` of signals or ``(channels, height, width)`` of images, in
        the order in which rows are flattened, for invariance to circular shifts of the
        axes behind the first. If `lift` is a transformer, the shape of what it returns.
    n_components : int, default=None
        Classify by the nearest of subspaces of that dimension, for signals per shift;
        None classifies by coding lengths.
    compress_layers : int, "auto" or None, default="auto"
        Eigenpairs kept of each class in each layer. ``"auto"`` keeps all of them where
        that is smaller than a dense matrix, None keeps dense matrices.
    chunk_size : int, default=None
        Samples whose features are worked out at a time, with the features between
        layers in temporary files; None keeps all in memory. The result is the same.
    finetune : int, default=0
        Passes of gradient ascent of the rate reduction through all layers, once they
        are built; operators are dense then.
    class_weight : dict or "balanced", default=None
        Weights of the classes, as if each sample occurred as often.
    forget : float, default=None
        Weight of the samples of a call of :meth:`partial_fit` in a moving average of
        second moments; None lets all samples count the same.
    tol : float, default=1e-3
        Stop when five layers raise the rate reduction by less than this share of it;
        :meth:`partial_fit` always builds all layers.
    device : str, default="auto"
        Where to compute; ``"auto"`` takes CUDA if there is one and it pays.
    random_state : int, RandomState instance or None, default=None
        Draws the random features.
    verbose : int, default=0
        Log the rate reduction every tenth of the layers (1) or after each (2).

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    class_count_ : ndarray of shape (n_classes,)
        Weight of the samples of each class.
    n_layers_ : int
        Number of layers.
    layers_ : list of dict of str to ndarray
        Arrays of each layer; ``sklearn_whitebox.solvers.ReduNetLayer.from_arrays``
        makes operators of them.
    lift_ : str or transformer
        ``"none"``, ``"bias"``, ``"random_relu"`` or the fitted transformer.
    lift_arrays_ : dict of str to ndarray
        Means, scales and random weights of the lift.
    lift_accuracy_ : dict of str to float
        Accuracy on samples left out after each lift that was tried, at the distortion
        that is best for it.
    distortion_ : float
        Distortion that is used.
    coding_rate_ : float
        Rate of all training features after the last layer, in nats per sample.
    conditional_coding_rate_ : float
        Mean rate of the classes.
    rate_reduction_ : float
        The first less the second.
    objective_curve_ : ndarray of shape (``n_layers_ + 1``,)
        Rate reduction of the training samples before and after each layer built.
    loss_curve_ : list of float
        Negative rate reduction, mean over batches, of each pass of `finetune`.
    statistics_ : dict of str to ndarray
        What else was measured while building, as in :meth:`layer_statistics`.
    class_bases_ : list of ndarray of shape (rank, n_channels)
        Principal directions of each class after the last layer, as orthonormal rows;
        for signals of shape (n_frequencies, rank, n_channels), complex.
    class_spectra_ : list of ndarray of shape (rank,)
        Singular values along them; for signals of shape (n_frequencies, rank).
    sharpness_ : float
        Factor of the scores of classes in the probabilities.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit, if they were all strings.

    See Also
    --------
    RateReductionEmbedding : Maximises the same objective over encoders, by gradients.
    CodingLengthClassifier : The rule after the last layer, on the samples themselves.
    PolarTransformer : Turns rotations of images into shifts.

    Notes
    -----
    A layer costs O(n K d² + K d³) time for n samples, K classes and d features after
    lifting, and O(K d²) memory; classes of r < d/2 samples O(n K d r) and O(K d r).
    Signals of C channels and T samples cost O(n K C² T) a layer. Classes with fewer
    features than about 32 rarely are subspaces through the origin, so ``lift=None`` is
    for wide data such as pixels.

    References
    ----------
    .. [1] Chan, Yu, You, Qi, Wright, Ma (2022). ReduNet: a white-box deep network from
       the principle of maximizing rate reduction. JMLR 23.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_whitebox import ReduNetClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> net = ReduNetClassifier(20, random_state=0).fit(X[::2], y[::2])
    >>> bool(net.score(X[1::2], y[1::2]) > 0.9)
    True
    >>> bool(net.objective_curve_[-1] > net.objective_curve_[0])
    True
    """

    _parameter_constraints: dict = {  # noqa: RUF012
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "distortion": [
            Interval(Real, 0, None, closed="neither"),
            StrOptions({"auto"}),
        ],
        "step_size": [Interval(Real, 0, None, closed="neither")],
        "step_mode": [StrOptions({"relative", "absolute"})],
        "membership": [StrOptions({"estimated", "labels"})],
        "membership_temperature": [
            Interval(Real, 0, None, closed="neither"),
            StrOptions({"auto"}),
        ],
        "balance_membership": ["boolean"],
        "lift": [
            StrOptions({"auto", "bias", "random_relu"}),
            HasMethods(["fit", "transform"]),
            None,
        ],
        "n_channels": [Interval(Integral, 1, None, closed="left"), None],
        "kernel_size": [Interval(Integral, 1, None, closed="left"), tuple],
        "input_shape": [tuple, list, None],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "compress_layers": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
            None,
        ],
        "chunk_size": [Interval(Integral, 1, None, closed="left"), None],
        "finetune": [Interval(Integral, 0, None, closed="left")],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "forget": [Interval(Real, 0, 1, closed="right"), None],
        "tol": [Interval(Real, 0, None, closed="left")],
        "device": [str, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_layers=50,
        *,
        distortion="auto",
        step_size=0.5,
        step_mode="relative",
        membership="estimated",
        membership_temperature="auto",
        balance_membership=True,
        lift="auto",
        n_channels=None,
        kernel_size=5,
        input_shape=None,
        n_components=None,
        compress_layers="auto",
        chunk_size=None,
        finetune=0,
        class_weight=None,
        forget=None,
        tol=1e-3,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.n_layers = n_layers
        self.distortion = distortion
        self.step_size = step_size
        self.step_mode = step_mode
        self.membership = membership
        self.membership_temperature = membership_temperature
        self.balance_membership = balance_membership
        self.lift = lift
        self.n_channels = n_channels
        self.kernel_size = kernel_size
        self.input_shape = input_shape
        self.n_components = n_components
        self.compress_layers = compress_layers
        self.chunk_size = chunk_size
        self.finetune = finetune
        self.class_weight = class_weight
        self.forget = forget
        self.tol = tol
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self):
        """Say that float32 stays float32."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @all_or_nothing()
    def fit(self, X, y, sample_weight=None):
        """Build the network, one layer after the other.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Training samples.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            How many times each sample counts.

        Returns
        -------
        self : ReduNetClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            If there is one class only, all weights are zero, the shape does not fit the
            features, or the network exceeds the memory budget.
        """
        X, y = validate_array(self, X, y, power=2)
        check_classification_targets(y)
        y = column_or_1d(y)
        if sample_weight is not None:
            X, y, sample_weight = drop_weightless(X, y, sample_weight)
        classes = np.unique(y)
        if len(classes) < 2:
            raise ValueError(
                f"y has {len(classes)} class; the rate reduction of a single class is "
                "identically zero, so at least 2 classes are needed."
            )
        return self._build(X, y, sample_weight, classes, growing=False)

    @all_or_nothing()
    def fit_blocks(self, blocks):
        """Build the network from samples that do not fit in memory.

        Lift, distortion and the sharpness of probabilities are settled by 3,000
        samples, which a hash of their values picks from all blocks. Second moments are
        summed over chunks of a fixed number of samples, whose features are kept in
        temporary files from layer to layer. How the samples are divided into blocks
        changes nothing. See :ref:`scaling`.

        Parameters
        ----------
        blocks : iterable of blocks, pair of arrays, or pair of dask arrays
            Blocks are pairs of shapes (n_rows, n_features) and (n_rows,), or functions
            without arguments that load them. A pair of arrays is cut by rows.

        Returns
        -------
        self : ReduNetClassifier
            The fitted estimator.

        Raises
        ------
        TypeError
            If `blocks` can be read only once.
        ValueError
            If a block does not fit the others, there is one class only, `finetune` is
            set, or the network exceeds the memory budget.
        """
        return build_from_blocks(self, blocks)

    @all_or_nothing()
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Let more samples take part in every layer.

        The first call builds all `n_layers` layers. Later ones update the second
        moments of each layer in turn, by what the updated layers before it make of the
        new samples, see `forget`.

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
        self : ReduNetClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            If `classes` is missing at the first call, differs later, or lacks a label.
        """
        first = not hasattr(self, "classes_")
        if first and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' is not known before all samples are; give "
                "partial_fit a dictionary of weights."
            )
        known = np.unique(classes) if classes is not None else self.classes_
        if not first and not np.array_equal(known, self.classes_):
            raise ValueError(
                f"classes={classes!r} is not the same as on the last call to "
                f"partial_fit, {self.classes_!r}."
            )
        X, y = validate_array(self, X, y, reset=first, power=2)
        check_classification_targets(y)
        y = column_or_1d(y)
        strange = np.setdiff1d(y, known)
        if len(strange):
            raise ValueError(f"y has labels {strange!r} that are not in classes.")
        if len(known) < 2:
            raise ValueError(f"classes has {len(known)} class; at least 2 are needed.")
        if sample_weight is not None:
            X, y, sample_weight = drop_weightless(X, y, sample_weight)
        if first:
            return self._build(X, y, sample_weight, known, growing=True)
        return self._update(X, y, sample_weight)
