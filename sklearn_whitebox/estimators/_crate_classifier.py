"""CRATEClassifier: classification by a white-box transformer."""

import warnings
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import (
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning

from sklearn_whitebox._array import restore, validate_array
from sklearn_whitebox._compat import Interval, StrOptions, _check_sample_weight
from sklearn_whitebox._progress import Progress
from sklearn_whitebox._random import torch_generator
from sklearn_whitebox.estimators._base import WhiteboxEstimator, all_or_nothing
from sklearn_whitebox.estimators._crate_config import (
    make_config,
    prepare_labels,
    warm_weights,
)
from sklearn_whitebox.estimators._crate_inference import (
    infer,
    measure_layers,
    read_attention,
)
from sklearn_whitebox.estimators._crate_training import Training, train_crate
from sklearn_whitebox.modules._scaling import (
    channel_scaling,
    feature_scaling,
    scale_features,
)


class CRATEClassifier(
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    WhiteboxEstimator,
):
    r"""White-box transformer (CRATE) that classifies rows of tables and images.

    Every row becomes a few tokens. Each layer is a step up the sparse rate reduction
    :math:`R(Z) - R_c(Z \mid U_{[K]}) - \lambda \|Z\|_0` of the tokens: attention
    compresses them towards learnt subspaces, then a proximal step of a lasso in a
    learnt dictionary makes them sparse. A linear map classifies the class token.
    What each layer does can be measured by :meth:`layer_statistics` and seen by
    :meth:`attention_maps`.

    Read more in the :ref:`User Guide <crate>`.

    Parameters
    ----------
    n_layers : int, default=3
        Number of layers.
    d_token : int, default=64
        Width of a token; a multiple of `n_heads`.
    n_heads : int, default=4
        Number of subspaces of each layer.
    attention : {"mssa", "tssa"}, default="mssa"
        Step that compresses: attention inside subspaces [1]_, or by second moments of
        the tokens [3]_, whose cost is linear in the number of tokens.
    sparsifier : {"ista", "odl", "mlp"} or None, default="ista"
        Step that sparsifies: one proximal step in a complete dictionary [1]_, two in an
        overcomplete one with a residual connection [2]_, the perceptron of an ordinary
        transformer for comparison, or none.
    tokens : {"dense", "feature"}, default="dense"
        Tokens of a table: `n_tokens` learnt non-linear views of all features, or one
        token per feature, which shows what the model reads but costs more and predicts
        less well. Images always give one token per patch.
    n_tokens : int, default=8
        Number of views for ``tokens="dense"``.
    image_shape : (int, int) or (int, int, int), default=None
        Height, width and, unless it is one, number of channels of the images that the
        rows are, flattened row by row with channels last. None for tables.
    patch_size : int, default=None
        Side of a patch in pixels; must divide height and width. None takes the size
        that gives about 32 patches.
    dropout : float, default=0.1
        Share of attention weights and of outputs of the attention dropped in training.
    max_iter : int, default=30
        Most passes over the data, each of at least ten steps. The step size falls to
        zero at the last of them.
    batch_size : int or "auto", default="auto"
        Rows of a step. ``"auto"`` takes all of up to 64 rows, else about a thirtieth of
        them, between 32 and 512. Where a step sees all rows, training is in double
        precision without dropout, and an integer sample weight is a repetition.
    learning_rate : float or "auto", default="auto"
        Peak step size of AdamW. ``"auto"`` takes 2e-3 for tables, 3e-3 for images and
        1e-3 above a million weights.
    weight_decay : float, default=1e-2
        Decay of the matrices of layers and head.
    label_smoothing : float, default=0.1
        Share of probability spread over all classes in the training loss.
    early_stopping : bool, default=False
        Hold out a stratified part of the data, stop when its log-loss no longer
        improves, and keep the best weights. Not done with fewer than 50 rows. Small
        data can spare the rows less than the last passes.
    validation_fraction : float, default=0.15
        Share of every class held out for early stopping.
    n_iter_no_change : int, default=16
        Passes without improvement after which early stopping stops. Without it, and
        where a step sees all rows, the training loss is watched instead.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss, times `sample_weight`. ``"balanced"``
        counts the rows of positive `sample_weight`.
    warm_start : bool, default=False
        Start from the weights and the scaling of the previous fit. Classes, features
        and architecture must be the same; the settings of training may differ.
    device : str or torch.device, default="auto"
        Where to compute: ``"cpu"``, ``"cuda"``, … ``"auto"`` takes CUDA if there is one
        and the work is more than about ten billion multiply-adds. The fitted model is
        on no device; where a named CUDA device is missing it predicts on the CPU.
    random_state : int, RandomState instance or None, default=None
        Determines initial weights, held-out rows, order of rows and dropout.
    verbose : int, default=0
        Log every tenth of the passes (1) or every pass (2).

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.
    weights_ : dict of str to ndarray
        Weights of the network, a :class:`sklearn_whitebox.modules.CRATE`.
    centre_ : ndarray of shape (n_features,)
        Subtracted from the features: their medians, or the means of the channels.
    scale_ : ndarray of shape (n_features,)
        Multiplied with the features: one over their interquartile ranges, or over the
        standard deviations of the channels; zero for constants.
    loss_curve_ : list of float
        Smoothed training loss, mean of every pass, in nats.
    validation_curve_ : list of float
        Log-loss of the held-out rows after every pass, in nats; empty without early
        stopping.
    n_iter_ : int
        Passes done.
    best_iteration_ : int
        Pass, from 1, whose weights were kept.
    n_parameters_ : int
        Number of weights.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if `X` had any.

    See Also
    --------
    sklearn.neural_network.MLPClassifier : Perceptron without tokens.
    sklearn.ensemble.HistGradientBoostingClassifier : The first baseline for tables.
    RateReductionEmbedding : Features by rate reduction of the classes.

    Notes
    -----
    A forward pass of a row costs :math:`L (4 n d^2 + 2 n^2 d)` multiply-adds for L
    layers and n tokens of width d with the defaults, 16 n d² instead of 2 n d² a layer
    for ``sparsifier="odl"``, without the last term for ``attention="tssa"``; training
    costs three times that. Weights are float32; rows are classified in their own
    precision, up to 512 at a time. Training is bitwise reproducible for a given
    `random_state` on one machine with one number of threads.

    References
    ----------
    .. [1] Yu et al. (2023). White-box transformers via sparse rate reduction. NeurIPS.
    .. [2] Yang et al. (2024). Scaling white-box transformers for vision. NeurIPS.
    .. [3] Wu et al. (2025). Token statistics transformer: linear-time attention via
       variational rate reduction. ICLR.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn_whitebox import CRATEClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> model = CRATEClassifier(n_layers=1, max_iter=15, random_state=0)
    >>> model.fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.9
    True
    """

    _parameter_constraints: dict = {  # noqa: RUF012
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "d_token": [Interval(Integral, 1, None, closed="left")],
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "attention": [StrOptions({"mssa", "tssa"})],
        "sparsifier": [StrOptions({"ista", "odl", "mlp"}), None],
        "tokens": [StrOptions({"dense", "feature"})],
        "n_tokens": [Interval(Integral, 1, None, closed="left")],
        "image_shape": [tuple, list, None],
        "patch_size": [Interval(Integral, 1, None, closed="left"), None],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "learning_rate": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "warm_start": ["boolean"],
        "device": [str, torch.device, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        n_layers=3,
        d_token=64,
        n_heads=4,
        attention="mssa",
        sparsifier="ista",
        tokens="dense",
        n_tokens=8,
        image_shape=None,
        patch_size=None,
        dropout=0.1,
        max_iter=30,
        batch_size="auto",
        learning_rate="auto",
        weight_decay=1e-2,
        label_smoothing=0.1,
        early_stopping=False,
        validation_fraction=0.15,
        n_iter_no_change=16,
        class_weight=None,
        warm_start=False,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.n_layers = n_layers
        self.d_token = d_token
        self.n_heads = n_heads
        self.attention = attention
        self.sparsifier = sparsifier
        self.tokens = tokens
        self.n_tokens = n_tokens
        self.image_shape = image_shape
        self.patch_size = patch_size
        self.dropout = dropout
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @all_or_nothing()
    def fit(self, X, y, sample_weight=None):
        """Train the network on labelled rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Table, or images flattened row by row with channels last.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; rows of zero weight are as good as absent.

        Returns
        -------
        self : CRATEClassifier
            Fitted estimator.

        Raises
        ------
        ValueError
            If there are fewer than two classes, or `image_shape`, `patch_size` or
            `n_heads` do not fit the data or one another.
        """
        before = dict(vars(self))
        X, y = validate_array(self, X, y, power=2)
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64)
        classes, kept, labels, weight = prepare_labels(y, weight, self.class_weight)
        X = X[kept]
        config = make_config(self, X.shape[1], len(classes))
        warm = warm_weights(before, classes, config) if self.warm_start else None
        if warm is None:
            centre, scale = _scaling(X, config, weight)
        else:
            centre, scale = before["centre_"], before["scale_"]
        inputs = scale_features(X, centre, scale, soften=config.tokens != "patch")
        progress = Progress(self, self.max_iter, X, y, verbose=self.verbose)
        # Tensors made in the caller's inference_mode could not be trained on.
        with torch.inference_mode(False):
            module, result = train_crate(
                config,
                (inputs, labels, weight),
                self._training(),
                generator=torch_generator(self.random_state),
                warm=warm,
                callback=progress,
            )
        progress.close()
        self._warn_if_stuck(result.loss_curve)

        self.classes_ = classes
        self.centre_, self.scale_ = centre, scale
        self._architecture = vars(config).copy()
        self.weights_ = {name: w.numpy() for name, w in result.weights.items()}
        self.n_parameters_ = sum(p.numel() for p in module.parameters())
        self.loss_curve_ = result.loss_curve
        self.validation_curve_ = result.validation_curve
        self.n_iter_ = len(result.loss_curve)
        self.best_iteration_ = result.best_iter
        self._n_features_out = config.d_token
        return self

    def predict(self, X):
        """Predict the most probable class of every row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows as in :meth:`fit`.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Class labels, from `classes_`; a NumPy array for tensors, too.
        """
        logits = infer(self, X, lambda module, rows: module(rows))
        return self.classes_[logits.argmax(1)]

    def predict_proba(self, X):
        """Estimate the probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows as in :meth:`fit`.

        Returns
        -------
        probabilities : ndarray or Tensor of shape (n_samples, n_classes)
            Columns in the order of `classes_`; rows sum to one. A tensor for tensors.
        """
        probabilities = infer(self, X, lambda module, rows: module(rows).softmax(1))
        return restore(probabilities, like=X)

    def decision_function(self, X):
        """Give the logits of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows as in :meth:`fit`.

        Returns
        -------
        decision : ndarray or Tensor of shape (n_samples,) or (n_samples, n_classes)
            Logits; for two classes the logit of the second minus that of the first. A
            tensor for tensors.
        """
        logits = infer(self, X, lambda module, rows: module(rows))
        if len(self.classes_) == 2:
            logits = logits[:, 1] - logits[:, 0]
        return restore(logits, like=X)

    def transform(self, X):
        """Give the features that the last, linear map classifies.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows as in :meth:`fit`.

        Returns
        -------
        features : ndarray or Tensor of shape (n_samples, d_token)
            Normalised class token of the last layer; a tensor for tensors, unless
            ``set_output`` asks for a container.
        """
        features = infer(self, X, lambda module, rows: module.pool(rows))
        return restore(features, like=X, estimator=self)

    def attention_maps(self, X, layer=-1):
        """Show what the class token reads in a layer.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows as in :meth:`fit`.
        layer : int, default=-1
            Number of the layer; negative numbers count from the last.

        Returns
        -------
        maps : ndarray of shape (n_samples, n_heads, n_tokens) or \
                (n_samples, n_heads, n_rows, n_columns)
            For ``attention="mssa"`` the weight of each token in the row of the class
            token, which with its weight on itself sums to one; for ``"tssa"`` the
            membership of each token in the subspace of the head, which sums to one over
            the heads. Images give the grid of their patches.

        Raises
        ------
        ValueError
            If there is no such layer.
        """
        return read_attention(self, X, layer)

    def layer_statistics(self, X, *, distortion=0.01, max_samples=256):
        """Measure what each layer compresses and how sparse it leaves the tokens.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows as in :meth:`fit`.
        distortion : float, default=0.01
            Allowed mean squared error per token of unit norm, ε².
        max_samples : int or None, default=256
            Look at the first so many rows only; None looks at all.

        Returns
        -------
        statistics : dict of str to ndarray
            One row a layer; see
            :func:`sklearn_whitebox.modules.layer_statistics`.

        Notes
        -----
        The rates cost O(n³) a head, row and layer for n tokens. They need not fall from
        layer to layer in small networks.
        """
        return measure_layers(self, X, distortion=distortion, max_samples=max_samples)

    def _training(self):
        return Training(
            max_iter=int(self.max_iter),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=float(self.weight_decay),
            label_smoothing=float(self.label_smoothing),
            held_out=float(self.validation_fraction) if self.early_stopping else 0.0,
            patience=int(self.n_iter_no_change),
            device=self.device,
        )

    def _warn_if_stuck(self, curve):
        if len(curve) >= 10 and min(curve) > 0.99 * curve[0]:
            warnings.warn(
                f"The training loss fell by less than 1 % in {len(curve)} epochs; try "
                "a larger learning_rate or max_iter.",
                ConvergenceWarning,
                stacklevel=3,
            )


def _scaling(X, config, weight):
    if config.tokens == "patch":
        return channel_scaling(X, config.image_shape[2], weight)
    return feature_scaling(X, weight)
