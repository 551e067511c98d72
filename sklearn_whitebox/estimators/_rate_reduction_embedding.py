"""Supervised embedding that maximises the rate reduction between classes."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from sklearn_whitebox._array import (
    as_numpy,
    check_memory,
    inference_device,
    resolve_device,
    restore,
    to_tensor,
    validate_array,
)
from sklearn_whitebox._compat import Interval, StrOptions
from sklearn_whitebox._progress import Progress
from sklearn_whitebox._random import draw_seed
from sklearn_whitebox._threads import torch_threads
from sklearn_whitebox.estimators._base import WhiteboxEstimator, all_or_nothing
from sklearn_whitebox.functional import (
    coding_rate,
    conditional_coding_rate,
    rate_reduction,
)
from sklearn_whitebox.modules._encoders import SphereEncoder, make_mlp
from sklearn_whitebox.solvers._rate_reduction import (
    maximize_rate_reduction,
    whitening_directions,
)
from sklearn_whitebox.solvers._train import TrainSettings

# Rows encoded at a time; fixed, so that results do not depend on the machine.
_CHUNK = 4096


def _has_inverse(estimator):
    if estimator.encoder != "linear":
        raise AttributeError(
            "inverse_transform needs encoder='linear'; other encoders have no inverse."
        )
    return True


class RateReductionEmbedding(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, WhiteboxEstimator
):
    r"""Supervised embedding by maximal coding rate reduction (MCR²).

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
        Dimension d of the features. None means
        ``min(128, max(2 * n_classes, n_features))``. With fewer dimensions than classes
        orthogonal classes are impossible.
    encoder : {"mlp", "linear"} or callable, default="mlp"
        Network before the sphere. ``"linear"`` starts from whitened principal
        components, of the second moments if `standardize` is False. A callable gets
        ``(n_features, n_components)`` and returns a :class:`torch.nn.Module` that maps
        (n, n_features) to (n, n_components) in float32; it must build the same
        architecture whenever it is called, and be importable for pickling. Its initial
        weights are its own affair.
    hidden_layer_sizes : sequence of int, default=(256,)
        Widths of the hidden layers of ``encoder="mlp"``, each with batch normalisation
        and ReLU.
    distortion : float, default=0.5
        Allowed mean squared error ε² of the code, for features of unit norm. Larger
        values make the classes more compact, smaller ones spread them out.
    standardize : bool, default=True
        Centre the inputs and scale them to unit variance first.
    batch_size : int or None, default="auto"
        Rows of a stratified batch; None takes all rows at once. ``"auto"`` is
        ``max(1000, 4 * n_components, 20 * n_classes)``: rates of small batches are
        biased, because a few rows per class look low-dimensional whatever they are.
    learning_rate : float, default="auto"
        Peak learning rate of AdamW, after a short warm-up and before a cosine decay to
        zero. ``"auto"`` is 3e-3, and 1e-2 for ``encoder="linear"``.
    weight_decay : float, default=1e-4
        Decoupled weight decay of the weight matrices.
    max_iter : int, default=100
        Passes over the data, all of them done unless `early_stopping`.
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
        Log every tenth of the passes (1) or every pass (2).

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels seen.
    n_components_ : int
        Dimension of the features.
    rate_reduction_ : float
        Rate reduction of the training features, in nats per sample.
    coding_rate_ : float
        Coding rate of all training features, in nats per sample.
    conditional_coding_rate_ : float
        Mean coding rate of the classes, in nats per sample; small when they are
        compact.
    class_bases_ : list of ndarray of shape (min(n_k, n_components), n_components)
        Orthonormal principal directions of each class's features, strongest first.
    class_spectra_ : list of ndarray of shape (min(n_k, n_components),)
        Singular values of each class's features.
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
    `random_state` on one machine with one number of threads.

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
        "hidden_layer_sizes": ["array-like"],
        "distortion": [Interval(Real, 0, None, closed="neither")],
        "standardize": ["boolean"],
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
        "max_iter": [Interval(Integral, 1, None, closed="left")],
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
        hidden_layer_sizes=(256,),
        distortion=0.5,
        standardize=True,
        batch_size="auto",
        learning_rate="auto",
        weight_decay=1e-4,
        max_iter=100,
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
        self.distortion = distortion
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
        tags.target_tags.required = True
        tags.target_tags.multi_output = False
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.non_deterministic = False
        return tags

    @all_or_nothing()
    def fit(self, X, y):
        """Learn the embedding.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,)
            Class labels, at least two different ones.

        Returns
        -------
        self : RateReductionEmbedding
            The fitted embedding.
        """
        X, y = validate_array(self, X, y, ensure_min_samples=2, power=2)
        classes, labels = self._encode_labels(y)
        self._set_dimensions(X, classes)
        hidden = self._hidden_widths() if self.encoder == "mlp" else ()
        self._architecture = (self.encoder, hidden)
        self._set_scaler(X)
        inputs = self._standardized(X)
        seed = draw_seed(self.random_state)
        generator = torch.Generator().manual_seed(seed)
        kept, held_out = self._split(inputs, labels, seed)
        module = self._make_module(kept[0], generator)
        work = self._work(module, len(kept[0]))
        device = resolve_device(self.device, work=work * self.max_iter)
        settings = self._settings(len(kept[0]), len(classes))
        self._check_sizes(module, -(-len(kept[0]) // settings.steps_per_epoch))
        progress = Progress(self, self.max_iter, X, y, verbose=self.verbose)
        try:
            with torch_threads(work / settings.steps_per_epoch):
                result = maximize_rate_reduction(
                    module.to(device),
                    to_tensor(kept[0], device=device),
                    torch.from_numpy(kept[1]),
                    distortion=self.distortion,
                    settings=settings,
                    generator=generator,
                    held_out=self._on_device(held_out, device),
                    callback=progress,
                )
        except FloatingPointError as error:
            raise ValueError(
                f"Training diverged ({error}); lower learning_rate="
                f"{self.learning_rate!r} or weight_decay={self.weight_decay!r}."
            ) from error
        progress.close()
        self.classes_ = classes
        self.weights_ = {name: w.numpy().copy() for name, w in result.weights.items()}
        self.loss_curve_ = result.loss_curve
        self.validation_curve_ = result.validation_curve
        self.n_iter_ = len(result.loss_curve)
        self.best_iteration_ = result.best_iter
        self._describe(self._encode(inputs), labels)
        if self.encoder == "linear":
            W, b = self.weights_["network.0.weight"], self.weights_["network.0.bias"]
            self._typical_norm = float(np.linalg.norm(inputs @ W.T + b, axis=1).mean())
        return self

    def transform(self, X):
        """Encode rows on the unit sphere.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        Z : ndarray or Tensor of shape (n_samples, n_components)
            Features of unit norm, each row computed from its own input alone, in the
            floating type of `X`.
        """
        check_is_fitted(self)
        rows = validate_array(self, X, reset=False, power=2)
        Z = self._encode(self._standardized(rows)).astype(rows.dtype, copy=False)
        return restore(Z, like=X, estimator=self)

    @available_if(_has_inverse)
    def inverse_transform(self, Z):
        """Map features back to inputs, approximately; only for ``encoder="linear"``.

        The sphere forgets the length of a row, so the least-norm inputs that encode to
        `Z` are returned.

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
        W, b = self.weights_["network.0.weight"], self.weights_["network.0.bias"]
        rows = (Z * self._typical_norm - b) @ np.linalg.pinv(W).T
        X = (rows * self.scale_ + self.mean_).astype(Z.dtype, copy=False)
        return restore(X, like=given)

    def score(self, X, y):
        """Rate reduction of the features of `X`, in nats per sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,)
            Class labels.

        Returns
        -------
        reduction : float
            The larger, the better. Depends on the number of rows, so compare it on the
            same data only.
        """
        check_is_fitted(self)
        rows, y = validate_array(self, X, y, reset=False, power=2)
        labels = np.unique(column_or_1d(y), return_inverse=True)[1]
        Z = self._encode(self._standardized(rows)).astype(np.float64)
        return rate_reduction(Z, labels, distortion=self.distortion)

    @property
    def _n_features_out(self):
        return self.n_components_

    def _encode_labels(self, y):
        check_classification_targets(y)
        classes, labels = np.unique(column_or_1d(y, warn=True), return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                f"y has {len(classes)} class; the rate reduction of a single class is "
                "identically zero, so at least 2 classes are needed."
            )
        return classes, labels

    def _set_dimensions(self, X, classes):
        self.n_components_ = self.n_components or min(
            128, max(2 * len(classes), X.shape[1])
        )

    def _hidden_widths(self):
        widths = tuple(np.atleast_1d(self.hidden_layer_sizes).tolist())
        if not all(isinstance(width, int) and width >= 1 for width in widths):
            raise ValueError(
                f"hidden_layer_sizes={self.hidden_layer_sizes!r} must be positive "
                "integers, one per hidden layer."
            )
        return widths

    def _check_sizes(self, module, n_rows):
        n_weights = sum(p.numel() for p in module.parameters())
        activations = 4 * n_rows * (self.n_features_in_ + sum(self._architecture[1]))
        scatter = 16 * self.n_features_in_**2 if self.encoder == "linear" else 0
        check_memory(
            16 * n_weights + 3 * activations + scatter + 40 * self.n_components_**2,
            what=f"Training on batches of {n_rows} rows",
            remedy="lower batch_size, n_components or hidden_layer_sizes",
        )

    def _set_scaler(self, X):
        self.mean_ = np.zeros(X.shape[1])
        self.scale_ = np.ones(X.shape[1])
        if self.standardize:
            # In float32 the sums of many large entries lose the deviations.
            self.mean_ = X.mean(axis=0, dtype=np.float64)
            deviation = X.std(axis=0, dtype=np.float64)
            # A constant column has a deviation of rounding size, not exactly zero.
            constant = deviation <= 10 * np.finfo(X.dtype).eps * np.abs(self.mean_)
            self.scale_ = np.where(constant, 1, deviation)

    def _standardized(self, X):
        with np.errstate(over="ignore"):
            inputs = ((X - self.mean_) / self.scale_).astype(np.float32)
        if not np.isfinite(inputs).all():
            raise ValueError(
                "X has entries beyond the range of float32, in which networks compute; "
                "use standardize=True or scale X first."
            )
        return inputs

    def _split(self, inputs, labels, seed):
        if not self.early_stopping:
            return (inputs, labels), None
        try:
            parts = train_test_split(
                inputs,
                labels,
                test_size=self.validation_fraction,
                stratify=labels,
                random_state=seed,
            )
        except ValueError as error:
            raise ValueError(
                "early_stopping=True cannot hold out "
                f"validation_fraction={self.validation_fraction} of {len(labels)} rows "
                f"stratified by class ({error}) Use early_stopping=False."
            ) from error
        return (parts[0], parts[2]), (parts[1], parts[3])

    def _make_module(self, inputs, generator):
        """Build the encoder; `inputs` and `generator` are None to load a state."""
        n_inputs = self.n_features_in_
        encoder, hidden = self._architecture
        if callable(encoder):
            return SphereEncoder(self._build(encoder))
        network = make_mlp(n_inputs, self.n_components_, hidden, generator=generator)
        if encoder == "linear" and inputs is not None:
            W = whitening_directions(inputs, self.n_components_)
            rows = min(n_inputs, self.n_components_)
            with torch.no_grad():  # further rows keep their random start
                network[0].weight[:rows] = torch.from_numpy(W[:rows])
        return SphereEncoder(network)

    def _build(self, factory):
        """Call the user's factory, and refuse what is no encoder of the right shape."""
        n_inputs, n_outputs = self.n_features_in_, self.n_components_
        network = factory(n_inputs, n_outputs)
        if not isinstance(network, torch.nn.Module):
            raise TypeError(
                "encoder must return a torch.nn.Module, but it returned "
                f"{type(network).__name__}."
            )
        training = network.training
        try:
            with torch.no_grad():
                shape = tuple(network.eval()(torch.zeros(2, n_inputs)).shape)
        except RuntimeError as error:
            raise ValueError(
                f"the network of encoder cannot map float32 rows of {n_inputs} "
                f"features ({error})."
            ) from error
        if shape != (2, n_outputs):
            raise ValueError(
                f"the network of encoder maps 2 rows to shape {shape}; it must map "
                f"them to (2, {n_outputs})."
            )
        return network.train(training)

    def _work(self, module, n_rows):
        n_weights = sum(p.numel() for p in module.parameters())
        return 3.0 * n_rows * (n_weights + 2 * self.n_components_**2)

    def _settings(self, n_rows, n_classes):
        batch_size = self.batch_size
        if batch_size == "auto":
            batch_size = max(1000, 4 * self.n_components_, 20 * n_classes)
        rate = self.learning_rate
        if rate == "auto":
            rate = 1e-2 if self.encoder == "linear" else 3e-3
        return TrainSettings(
            learning_rate=float(rate),
            max_epochs=self.max_iter,
            steps_per_epoch=max(1, n_rows // (batch_size or n_rows)),
            weight_decay=self.weight_decay,
            patience=self.n_iter_no_change if self.early_stopping else None,
        )

    @staticmethod
    def _on_device(held_out, device):
        if held_out is None:
            return None
        return to_tensor(held_out[0], device=device), torch.from_numpy(held_out[1])

    def _encode(self, inputs):
        module = self._make_module(None, None)
        state = {name: torch.from_numpy(w.copy()) for name, w in self.weights_.items()}
        module.load_state_dict(state)
        work = self._work(module, min(len(inputs), _CHUNK))
        device = inference_device(self.device, work=self._work(module, len(inputs)))
        module = module.to(device).eval()
        chunks = []
        with torch_threads(work), torch.no_grad():
            for start in range(0, len(inputs), _CHUNK):
                chunk = to_tensor(inputs[start : start + _CHUNK], device=device)
                chunks.append(module(chunk).cpu().numpy())
        return np.concatenate(chunks)

    def _describe(self, Z, labels):
        Z = Z.astype(np.float64)
        distortion = self.distortion
        self.coding_rate_ = coding_rate(Z, distortion=distortion)
        self.conditional_coding_rate_ = conditional_coding_rate(
            Z, labels, distortion=distortion
        )
        self.rate_reduction_ = self.coding_rate_ - self.conditional_coding_rate_
        bases, spectra = [], []
        for k in range(len(self.classes_)):
            _, s, Vt = np.linalg.svd(Z[labels == k], full_matrices=False)
            bases.append(Vt)
            spectra.append(s)
        self.class_bases_ = bases
        self.class_spectra_ = spectra
