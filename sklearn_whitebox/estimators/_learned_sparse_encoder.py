"""Sparse codes from an unrolled network instead of an optimiser."""

import math
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox._array import as_numpy, restore, validate_array
from sklearn_whitebox._compat import Interval, StrOptions
from sklearn_whitebox._progress import Progress
from sklearn_whitebox._random import draw_seed
from sklearn_whitebox._warn import warn
from sklearn_whitebox.estimators._base import WhiteboxEstimator, all_or_nothing
from sklearn_whitebox.estimators._export_encoders import sparse_coder_module
from sklearn_whitebox.estimators._learned_encoder_fitting import (
    check_alpha,
    check_settings,
    checked_dictionary,
    learn_atoms,
    train_network,
)
from sklearn_whitebox.estimators._learned_encoder_network import LassoNetwork
from sklearn_whitebox.estimators._network_state import arrays_of
from sklearn_whitebox.solvers._lasso_encode import lasso_encode


class LearnedSparseEncoder(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, WhiteboxEstimator
):
    r"""Approximate lasso codes by a few learnt steps (LISTA).

    The code of a sample x on given atoms D minimises
    :math:`\tfrac12\|x - zD\|^2 + \alpha\|z\|_1`. Iterative soft-thresholding gets there
    in hundreds of steps; a network with one layer for each of a few steps, whose
    matrices and thresholds are trained on samples, comes close in eight or sixteen. Use
    it where codes must be differentiable, take the same time for every sample, or come
    from a GPU, for samples like those of the fit; `safeguard` certifies the codes of
    all others. On a CPU the exact solver of :class:`SparseDictionaryLearner` is about
    as fast.

    Read more in the :ref:`User Guide <learned_encoders>`.

    Parameters
    ----------
    dictionary : array-like of shape (n_components, n_features), default=None
        Atoms D, used as they are. None learns unit atoms from the samples online, as
        :class:`SparseDictionaryLearner` with ``fit_algorithm="online"`` does, in at
        most 100 epochs and without a warning if they still move: an encoder can be
        learnt for any atoms. Where the atoms themselves matter, give those of a
        :class:`SparseDictionaryLearner` that has converged.
    n_components : int, default=None
        Number of atoms to learn where `dictionary` is None; None is twice the number of
        features.
    n_layers : int, default=16
        Steps, and layers of the network.
    form : {"coupled", "free", "analytic"}, default="coupled"
        What a layer learns. ``"coupled"``: a matrix that reads the residual
        :math:`x - zD`, and thresholds. ``"free"``: one matrix for the sample and one
        for the code, as in the first LISTA [1]_, which costs k² weights a layer.
        ``"analytic"``: a step size and a threshold; the matrix is computed from D
        (ALISTA [3]_), for many atoms or few samples.
    loss : {"lasso", "supervised"}, default="lasso"
        Train on the lasso objective of the codes, or on their squared distance from the
        exact codes.
    alpha : float, default=None
        Weight of the ℓ1 norm. None is :math:`\min(1.2 / \sqrt d, 0.5)` times the root
        mean squared norm of the samples.
    positive_code : bool, default=False
        Whether codes must not be negative.
    safeguard : bool, default=False
        Whether `transform` certifies codes: where the duality gap of the network's code
        is more than `tol`, the exact solver codes the sample again. The exact solver
        runs on the CPU.
    tol : float, default=1e-4
        Largest duality gap of safeguarded codes, relative to half the squared norm of
        the sample. Codes of the network are seldom below 1e-2, so that with a small
        value nearly all samples are coded again.
    batch_size : int, default=256
        Samples of a batch.
    learning_rate : float, default=5e-3
        Peak learning rate of Adam, after a short warm-up and before a cosine decay to
        zero.
    max_iter : int, default=100
        Passes over the samples, all of them done unless `early_stopping`. 0 keeps the
        initial network: exactly `n_layers` steps of iterative soft-thresholding for the
        first two forms.
    early_stopping : bool, default=False
        Hold out samples, stop when their loss no longer improves, and keep the best
        weights.
    validation_fraction : float, default=0.1
        Share of the samples held out for early stopping.
    n_iter_no_change : int, default=10
        Passes without improvement after which early stopping stops.
    device : str or torch.device, default="auto"
        Where to train: ``"cpu"``, ``"cuda"``, … ``"auto"`` takes CUDA if there is one
        and the work is more than about ten billion multiply-adds.
    n_jobs : int, default=None
        Threads of the exact solver, as in joblib. Results do not depend on it.
    random_state : int, RandomState instance or None, default=None
        Determines learnt atoms, order of samples and held-out samples.
    verbose : int, default=0
        Log every tenth of the passes (1) or every pass (2).

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Atoms.
    alpha_ : float
        Weight of the ℓ1 norm used.
    scale_ : float
        Root mean squared norm of the samples, by which the network divides them.
    weights_ : dict of str to ndarray
        State of the network, :class:`~sklearn_whitebox.modules.UnrolledEncoder`, for
        scaled samples and atoms of unit root mean squared norm.
    gap_ : float
        Mean duality gap of the network's codes of the samples of the fit, relative to
        half the squared norm of a sample.
    loss_curve_ : list of float
        Mean loss of the batches of every pass, in the units of the samples.
    validation_curve_ : list of float
        Loss of the held-out samples after every pass; empty without early stopping.
    n_iter_ : int
        Passes done.
    best_iteration_ : int
        Pass, from 1, whose weights were kept; 0 if there was none.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if `X` had any.

    See Also
    --------
    SparseDictionaryLearner : Learns atoms, and codes by an exact solver.
    SparseAutoencoder : Learns atoms together with an encoder of one layer.
    sklearn.decomposition.SparseCoder : Codes on given atoms by an optimiser.

    Notes
    -----
    With n samples, T layers, k atoms and d features a pass costs O(n T k d) time, times
    k/d for ``"free"``; memory is that of a float32 copy of the samples, of a second one
    for early stopping, of the non-zeros of the exact codes if they supervise, of T k d
    weights, four times, and of the codes of a batch after every layer. `transform`
    costs O(n T k d) and computes in the floating type of its input, by blocks of 1024
    samples; so does `score`, which keeps no codes. Training is bitwise
    reproducible for a given `random_state` on one machine with one number of threads.

    Trained weights make the objective small on samples like those of the fit. On other
    samples codes can be worse than those of the untrained network; see `safeguard`.

    References
    ----------
    .. [1] Gregor, LeCun (2010). Learning fast approximations of sparse coding. ICML.
    .. [2] Chen, Liu, Wang, Yin (2018). Theoretical linear convergence of unfolded ISTA
       and its practical weights and thresholds. NeurIPS.
    .. [3] Liu, Chen, Wang, Yin (2019). ALISTA: Analytic weights are as good as learned
       weights in LISTA. ICLR.

    Examples
    --------
    >>> from sklearn_whitebox import LearnedSparseEncoder
    >>> from sklearn_whitebox.datasets import make_sparse_codes
    >>> X, _, D = make_sparse_codes(1000, 10, 20, n_nonzero=2, random_state=0)
    >>> ista = LearnedSparseEncoder(D, n_layers=4, alpha=0.1, max_iter=0).fit(X)
    >>> lista = LearnedSparseEncoder(D, n_layers=4, alpha=0.1, max_iter=25)
    >>> lista.fit(X).score(X) > 0.8 * ista.score(X)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "dictionary": ["array-like", None],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "form": [StrOptions({"coupled", "free", "analytic"})],
        "loss": [StrOptions({"lasso", "supervised"})],
        "alpha": [Interval(Real, 0, None, closed="neither"), None],
        "positive_code": ["boolean"],
        "safeguard": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        dictionary=None,
        *,
        n_components=None,
        n_layers=16,
        form="coupled",
        loss="lasso",
        alpha=None,
        positive_code=False,
        safeguard=False,
        tol=1e-4,
        batch_size=256,
        learning_rate=5e-3,
        max_iter=100,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        device="auto",
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.dictionary = dictionary
        self.n_components = n_components
        self.n_layers = n_layers
        self.form = form
        self.loss = loss
        self.alpha = alpha
        self.positive_code = positive_code
        self.safeguard = safeguard
        self.tol = tol
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self):
        """Say that float32 stays float32."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @all_or_nothing()
    def fit(self, X, y=None):
        """Train the network, after learning atoms if none are given.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.
        y : None
            Ignored.

        Returns
        -------
        self : LearnedSparseEncoder
            The fitted encoder.

        Raises
        ------
        ValueError
            If the dictionary does not fit the samples or has a zero atom, or if `alpha`
            is so large that all exact codes are zero.

        Warns
        -----
        ConvergenceWarning
            If ``loss="supervised"`` and the solver did not find the exact codes.
        """
        X = validate_array(self, X, ensure_min_samples=2, power=2)
        generator = torch.Generator().manual_seed(draw_seed(self.random_state))
        D = checked_dictionary(self, X)
        k = (self.n_components or 2 * X.shape[1]) if D is None else len(D)
        check_settings(self, X, k)
        self.scale_ = math.sqrt(np.einsum("ij,ij->", X, X, dtype=float) / len(X))
        if self.scale_ == 0:
            raise ValueError("X is zero everywhere, so every code is zero.")
        default = min(1.2 / math.sqrt(X.shape[1]), 0.5) * self.scale_
        self.alpha_ = float(default if self.alpha is None else self.alpha)
        progress = Progress(self, max(1, self.max_iter), X, verbose=self.verbose)
        # A later change of the parameters must not change the network.
        self._architecture = (self.n_layers, self.form, self.positive_code)
        check_alpha(X, self.alpha_, D, positive=self.positive_code)
        if D is None:
            D = learn_atoms(self, X, self.alpha_, k, generator)
            check_alpha(X, self.alpha_, D, positive=self.positive_code)
        self.components_ = D
        network = self._network()
        result = train_network(self, network, X, generator, progress)
        progress.close()
        unit = network.loss_unit(self.loss)
        self.weights_ = arrays_of(result.weights)
        self.loss_curve_ = [unit * loss for loss in result.loss_curve]
        self.validation_curve_ = [unit * loss for loss in result.validation_curve]
        self.n_iter_ = len(result.loss_curve)
        self.best_iteration_ = result.best_iter
        gaps = [
            network.gaps(X[block], codes)
            for block, codes in network.codes(X, self.weights_, self.device)
        ]
        self.gap_ = float(np.concatenate(gaps).mean())
        return self

    def transform(self, X):
        """Code samples.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        codes : ndarray or Tensor of shape (n_samples, n_components)
            One code a row, each computed from its own sample alone, in the floating
            type of `X`.

        Warns
        -----
        ConvergenceWarning
            If the exact solver behind `safeguard` did not reach `tol`.
        """
        check_is_fitted(self)
        rows = validate_array(self, X, reset=False, power=2)
        out = np.empty((len(rows), len(self.components_)), dtype=rows.dtype)
        for block, codes in self._encode(rows):
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
            :meth:`transform` gives for a tensor of the same rows.

        Raises
        ------
        ValueError
            If ``safeguard=True``: no module holds an exact solver.
        """
        return sparse_coder_module(self)

    def inverse_transform(self, X):
        """Build samples from codes.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        X_original : ndarray or Tensor of shape (n_samples, n_features)
            Codes times atoms, in the floating type of the codes.

        Raises
        ------
        ValueError
            If the codes do not have one column for each atom.
        """
        check_is_fitted(self)
        codes = check_array(as_numpy(X), dtype=(np.float64, np.float32))
        if codes.shape[1] != len(self.components_):
            raise ValueError(
                f"X has {codes.shape[1]} columns; codes of this LearnedSparseEncoder "
                f"have {len(self.components_)}."
            )
        return restore(codes @ self.components_.astype(codes.dtype), like=X)

    def score(self, X, y=None):
        r"""Mean lasso objective of the samples' codes, negated.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
            Samples.
        y : None
            Ignored.

        Returns
        -------
        score : float
            Mean of :math:`-\tfrac12\|x - zD\|^2 - \alpha\|z\|_1`; the higher the
            better.
        """
        check_is_fitted(self)
        X = validate_array(self, X, reset=False, power=2)
        D = self.components_.astype(X.dtype)
        total = 0.0
        for block, codes in self._encode(X):
            residual = X[block] - codes @ D
            total += np.einsum("ij,ij->", residual, residual, dtype=np.float64) / 2
            total += self.alpha_ * np.abs(codes).sum(dtype=np.float64)
        return -float(total) / len(X)

    @property
    def _n_features_out(self):
        return len(self.components_)

    def _network(self):
        n_layers, form, positive = self._architecture
        return LassoNetwork(
            self.components_, self.alpha_, self.scale_, n_layers, form, positive
        )

    def _encode(self, X):
        """Yield blocks of rows and their codes, certified if asked for."""
        network = self._network()
        worst = 0.0
        for block, codes in network.codes(X, self.weights_, self.device):
            if self.safeguard:
                worst = max(worst, self._certify(network, X[block], codes))
            yield block, codes
        if worst > 0:
            warn(
                f"The exact codes reached a relative duality gap of {worst:.1e}, "
                f"not tol={self.tol}; increase tol, or pass float64 samples.",
                ConvergenceWarning,
            )

    def _certify(self, network, rows, codes):
        """Solve in place for loose codes; return the gap if it stays too large."""
        loose = network.gaps(rows, codes) > self.tol
        if not loose.any():
            return 0.0
        result = lasso_encode(
            rows[loose],
            self.components_.astype(rows.dtype),
            alpha=self.alpha_,
            positive=network.positive,
            tol=self.tol,
            n_jobs=self.n_jobs,
        )
        codes[loose] = result.solution
        return 0.0 if result.converged else result.gap
