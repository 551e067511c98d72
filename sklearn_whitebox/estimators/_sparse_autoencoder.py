"""Sparse autoencoder: a dictionary for the activations of another network."""

import math
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import torch
from scipy import sparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox._array import (
    as_numpy,
    check_memory,
    resolve_device,
    restore,
    validate_array,
)
from sklearn_whitebox._compat import Interval, StrOptions
from sklearn_whitebox._progress import Progress
from sklearn_whitebox._random import draw_seed
from sklearn_whitebox._threads import torch_threads
from sklearn_whitebox.estimators._autoencoder_state import (
    blocks_of_codes,
    find_start,
    measure_codes,
    module_of,
    remember,
    scaled_rows,
    store,
)
from sklearn_whitebox.estimators._base import WhiteboxEstimator, all_or_nothing
from sklearn_whitebox.estimators._export_encoders import autoencoder_module
from sklearn_whitebox.estimators._network_state import arrays_of
from sklearn_whitebox.estimators._stream_blocks import learn_passes
from sklearn_whitebox.solvers._autoencoder import (
    AutoencoderSettings,
    train_autoencoder,
)

# Least rows without activation that make an atom of a stream dead.
_STREAM_PATIENCE = 10_000


class SparseAutoencoder(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, WhiteboxEstimator
):
    r"""Explain rows by few non-negative features out of many, with a linear encoder.

    The tool with which the activations of networks are taken apart: a row x is coded
    and rebuilt as

    .. math:: f = \operatorname{relu}\bigl((x - b) U^\top + c\bigr), \qquad
       \hat x = f D + b,

    where the rows of D, of unit norm, are directions that mean something if all went
    well. Unlike :class:`SparseDictionaryLearner` it codes at the price of one matrix
    product, and learns from streams of any length; its codes are less exact.

    Read more in the :ref:`User Guide <sparse_autoencoder>`.

    Parameters
    ----------
    n_components : int, default=None
        Number of atoms; None is twice the number of features.
    activation : {"topk", "relu"}, default="topk"
        How codes become sparse: by keeping the `n_active` largest values, or by an ℓ1
        penalty of weight `alpha`, which also shrinks them.
    n_active : int, default=None
        Non-zeros of a code, at most, for ``"topk"``; None is an eighth of the number of
        features, at least 1.
    alpha : float, default=0.5
        Weight of the ℓ1 norm in :math:`\tfrac12\|x - \hat x\|^2 + \alpha\|f\|_1` for
        ``"relu"``, with rows scaled to a mean squared norm of `n_features`.
    center : {"median", "mean"}, default="median"
        Where the bias b starts: at the geometric median of the rows, or at their mean.
    dead_after : int, default=None
        Rows without activation after which an atom is dead; None is five passes over
        the rows of `fit`, and in `partial_fit` the same but at least 10 000. Dead atoms
        of ``"relu"`` are replaced by what badly rebuilt rows lack; those of ``"topk"``
        are trained on the error of the living, and replaced only if that does not wake
        them in as long a time again.
    batch_size : int, default=256
        Rows of a batch.
    learning_rate : float, default="auto"
        Peak learning rate of Adam; ``"auto"`` is
        :math:`2\cdot 10^{-4}\sqrt{2^{14}/k}` for k atoms, at most 5e-3.
    max_iter : int, default=100
        Passes over the rows of `fit`, all of them done.
    sparse_output : bool, default=False
        Whether `transform` returns a csr_array, made by blocks of rows.
    device : str or torch.device, default="auto"
        Where to train: ``"cpu"``, ``"cuda"``, … ``"auto"`` takes CUDA if there is one
        and the work is more than about ten billion multiply-adds.
    random_state : int, RandomState instance or None, default=None
        Determines the start, the order of rows and the rows that replace the dead.
    verbose : int, default=0
        Log every tenth of the passes (1) or every pass (2).

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Atoms D, of unit norm.
    pre_bias_ : ndarray of shape (n_features,)
        Bias b, in the units of the rows.
    weights_ : dict of str to ndarray
        ``"encoder"`` U, ``"encoder_bias"`` c, ``"decoder"`` D and ``"pre_bias"`` b of
        the network, which sees rows minus `center_`, divided by `scale_`.
    center_ : ndarray of shape (n_features,)
        Centre of the rows of the fit, or of the first call of `partial_fit`.
    scale_ : float
        Root mean square of the centred entries, of the same rows.
    l0_ : float
        Mean number of non-zeros of a code.
    explained_variance_ratio_ : float
        Fraction of the variance of the rows that is rebuilt.
    dead_fraction_ : float
        Share of atoms that no row of the fit activates; after `partial_fit`, that are
        dead by `dead_after`.
    n_replaced_ : int
        Dead atoms replaced.
    loss_curve_ : list of float
        Mean loss of every pass, or call of `partial_fit`, for scaled rows.
    n_iter_ : int
        Passes done, and calls of `partial_fit`.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if `X` had any.

    See Also
    --------
    SparseDictionaryLearner : Learns atoms with exact codes.
    LearnedSparseEncoder : Approximates the exact codes by a deeper network.

    Notes
    -----
    With n rows, k atoms and d features a pass costs O(n k d) time. Memory is that of
    a float32 copy of the rows, of 8 k d numbers, and of the codes of a batch or of 1024
    rows; `transform` needs the latter besides its result. It computes in the floating
    type of its input, each row by itself. Training is bitwise reproducible for
    a given `random_state` on one machine with one number of threads.

    References
    ----------
    .. [1] Huben, Cunningham, Smith, Ewart, Sharkey (2024). Sparse autoencoders find
       highly interpretable features in language models. ICLR.
    .. [2] Gao et al. (2025). Scaling and evaluating sparse autoencoders. ICLR.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_whitebox import SparseAutoencoder
    >>> from sklearn_whitebox.datasets import make_sparse_codes
    >>> _, codes, atoms = make_sparse_codes(2000, 10, 15, n_nonzero=2, random_state=0)
    >>> X = np.abs(codes) @ atoms
    >>> model = SparseAutoencoder(15, n_active=2, random_state=0).fit(X)
    >>> model.score(X) > 0.8
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "activation": [StrOptions({"topk", "relu"})],
        "n_active": [Interval(Integral, 1, None, closed="left"), None],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "center": [StrOptions({"median", "mean"})],
        "dead_after": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "sparse_output": ["boolean"],
        "device": [str, torch.device, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_components=None,
        *,
        activation="topk",
        n_active=None,
        alpha=0.5,
        center="median",
        dead_after=None,
        batch_size=256,
        learning_rate="auto",
        max_iter=100,
        sparse_output=False,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.activation = activation
        self.n_active = n_active
        self.alpha = alpha
        self.center = center
        self.dead_after = dead_after
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.sparse_output = sparse_output
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self):
        """Say that float32 stays float32."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @all_or_nothing()
    def fit(self, X, y=None):
        """Learn atoms and encoder.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Rows, for example activations of a layer.
        y : None
            Ignored.

        Returns
        -------
        self : SparseAutoencoder
            The fitted autoencoder.

        Raises
        ------
        ValueError
            If `n_active` is more than `n_components`, or training diverges.
        """
        X = validate_array(self, X, ensure_min_samples=2, power=2)
        generator = torch.Generator().manual_seed(draw_seed(self.random_state))
        self._start(X, generator)
        progress = Progress(self, self.max_iter, X, verbose=self.verbose)
        memory, result = self._train(
            X, None, generator, n_epochs=self.max_iter, callback=progress
        )
        progress.close()
        self._memory = memory
        self.loss_curve_ = result.loss_curve
        self.n_iter_ = len(result.loss_curve)
        self.n_replaced_ = result.n_replaced
        self._describe(X)
        return self

    @all_or_nothing()
    def partial_fit(self, X, y=None):
        """Learn from a part of a stream, once.

        The first part sets centre and scale, and starts the atoms; it should hold more
        rows than atoms. The learning rate stays at its peak.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Rows; they are learnt from in batches of `batch_size`.
        y : None
            Ignored.

        Returns
        -------
        self : SparseAutoencoder
            The improved autoencoder.

        Raises
        ------
        ValueError
            If `n_active` is more than `n_components`, or training diverges.
        """
        is_first = not hasattr(self, "weights_")
        X = validate_array(self, X, reset=is_first, power=2)
        if is_first:
            generator = torch.Generator().manual_seed(draw_seed(self.random_state))
            self._start(X, generator)
        else:
            generator = torch.Generator().manual_seed(self._memory["seed"])
        memory = None if is_first else self._memory
        memory, result = self._train(X, memory, generator)
        earlier = [] if is_first else self.loss_curve_
        self._memory = memory
        self.loss_curve_ = [*earlier, *result.loss_curve]
        self.n_iter_ = len(self.loss_curve_)
        self.n_replaced_ = (0 if is_first else self.n_replaced_) + result.n_replaced
        self._describe(X)
        dead = memory["idle"] >= self._patience(len(X), stream=True)
        self.dead_fraction_ = float(dead.mean())
        return self

    @all_or_nothing()
    def fit_blocks(self, blocks, *, n_passes=1):
        """Learn from rows that do not fit in memory.

        Centre, scale and the first atoms are settled by some thousand rows, which a
        hash of their values picks from all blocks; then :meth:`partial_fit` takes
        `n_passes` passes over chunks of a fixed number of rows, so that it does not
        matter how they are divided into blocks. Shuffle rows when they are written: a
        chunk in which all are alike teaches little. See :ref:`scaling`.

        Parameters
        ----------
        blocks : iterable of blocks, ndarray or dask array
            Blocks of shape (n_rows, n_features), or functions without arguments that
            load them; read anew in each pass. An array is cut by rows.
        n_passes : int, default=1
            Passes over all rows.

        Returns
        -------
        self : SparseAutoencoder
            The fitted estimator.

        Raises
        ------
        TypeError
            If `blocks` can be read only once.
        ValueError
            If a block does not fit the others.
        """
        return learn_passes(self, blocks, labelled=False, n_passes=n_passes)

    def transform(self, X):
        """Code rows.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        codes : ndarray, Tensor or csr_array of shape (n_samples, n_components)
            Non-negative codes in the units and the floating type of `X`.
        """
        check_is_fitted(self)
        rows = validate_array(self, X, reset=False, power=2)
        if self.sparse_output:
            blocks = [sparse.csr_array(codes) for _, codes in self._codes(rows)]
            return sparse.vstack(blocks, format="csr")
        out = np.empty((len(rows), len(self.components_)), dtype=rows.dtype)
        for block, codes in self._codes(rows):
            out[block] = codes
        return restore(out, like=X, estimator=self)

    def build_module(self):
        """Build the fitted model as a module of plain torch.

        Changing it does not change the estimator. What it takes, how to train it
        further and how to write it as ONNX is told in the :ref:`User Guide <export>`.

        Returns
        -------
        module : torch.nn.Module
            On the CPU, in evaluation mode. Its ``forward(X)`` gives what
            :meth:`transform` gives for a tensor of the same rows, always dense.
        """
        return autoencoder_module(self)

    def inverse_transform(self, X):
        """Build rows from codes.

        Parameters
        ----------
        X : array-like, Tensor or sparse array of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        X_original : ndarray or Tensor of shape (n_samples, n_features)
            Codes times atoms, plus the bias, in the floating type of the codes.

        Raises
        ------
        ValueError
            If the codes do not have one column for each atom.
        """
        check_is_fitted(self)
        codes = check_array(
            as_numpy(X), dtype=(np.float64, np.float32), accept_sparse="csr"
        )
        if codes.shape[1] != len(self.components_):
            raise ValueError(
                f"X has {codes.shape[1]} columns; codes of this SparseAutoencoder have "
                f"{len(self.components_)}."
            )
        return restore(self._rebuild(codes), like=X)

    def score(self, X, y=None):
        """Fraction of the variance of the rows that is rebuilt.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Rows.
        y : None
            Ignored.

        Returns
        -------
        score : float
            At most 1; 0 for a model no better than the mean of `X`, and for rows that
            do not vary unless they are rebuilt exactly.
        """
        check_is_fitted(self)
        X = validate_array(self, X, reset=False, power=2)
        return measure_codes(X, self._codes(X), self._rebuild)[0]

    @property
    def _n_features_out(self):
        return len(self.components_)

    def _start(self, X, generator):
        """Set the scaler and the initial weights from the first rows."""
        n_features = X.shape[1]
        k = self.n_components or 2 * n_features
        check_memory(
            32 * k * n_features + 12 * min(self.batch_size, len(X)) * k,
            what=f"An autoencoder of {n_features} features with {k} atoms",
            remedy="lower n_components or batch_size",
        )
        n_active = self.n_active or min(max(1, n_features // 8), k)
        if self.activation == "topk" and n_active > k:
            raise ValueError(
                f"n_active={n_active} must be at most the {k} atoms; lower it or raise "
                "n_components."
            )
        resolve_device(self.device)
        self._n_active = n_active if self.activation == "topk" else None
        self.center_, self.scale_, self.weights_ = find_start(
            X, k, self.center, generator
        )

    def _train(self, X, stored, generator, *, n_epochs=None, callback=None):
        k, d = self.weights_["decoder"].shape
        work = 6.0 * k * d
        device = resolve_device(self.device, work=work * len(X) * (n_epochs or 1))
        module = module_of(self.weights_, self._n_active, torch.float32).to(device)
        module.train()
        settings = AutoencoderSettings(
            learning_rate=self._learning_rate(k),
            alpha=0.0 if self._n_active else float(self.alpha),
            dead_after=self._patience(len(X), stream=n_epochs is None),
            n_auxiliary=max(self._n_active, d // 2) if self._n_active else 0,
        )
        memory = remember(stored, module)
        inputs = scaled_rows(X, self.center_, self.scale_, np.float32)
        try:
            with torch_threads(work * min(self.batch_size, len(X))):
                result = train_autoencoder(
                    module,
                    torch.from_numpy(inputs).to(device),
                    memory,
                    settings,
                    batch_size=self.batch_size,
                    generator=generator,
                    n_epochs=n_epochs,
                    callback=callback,
                )
        except FloatingPointError as error:
            raise ValueError(
                f"Training diverged ({error}); lower learning_rate="
                f"{settings.learning_rate:.2g}, or remove outliers."
            ) from error
        self.weights_ = arrays_of(module.state_dict())
        return store(memory, generator), result

    def _learning_rate(self, n_components):
        if self.learning_rate == "auto":
            return min(2e-4 * math.sqrt(2**14 / n_components), 5e-3)
        return float(self.learning_rate)

    def _patience(self, n_samples, *, stream):
        if self.dead_after is not None:
            return self.dead_after
        return max(5 * n_samples, _STREAM_PATIENCE if stream else 1)

    def _codes(self, X):
        """Yield blocks of rows and their codes, in the units of the rows."""
        return blocks_of_codes(
            X, self.weights_, self._n_active, self.center_, self.scale_, self.device
        )

    def _rebuild(self, codes):
        D = self.components_.astype(codes.dtype)
        return codes @ D + self.pre_bias_.astype(codes.dtype)

    def _describe(self, X):
        D = self.weights_["decoder"].astype(np.float64)
        self.components_ = (D / np.linalg.norm(D, axis=1, keepdims=True)).astype(
            X.dtype
        )
        bias = self.center_ + self.scale_ * self.weights_["pre_bias"].astype(float)
        self.pre_bias_ = bias.astype(X.dtype)
        explained, self.l0_, used = measure_codes(X, self._codes(X), self._rebuild)
        self.explained_variance_ratio_ = explained
        self.dead_fraction_ = float(1 - used.mean())
